"""The time grid of a pipeline.

A tick is 0.1 s. The level is measured and estimates are scheduled in ticks. A model step is 0.5 s.
"""

TICKS_PER_SECOND = 10
TICKS_PER_STEP = 5
