"""The paper's experiments as one command: what is fitted, how it is run, what is written."""
