"""Streams that run in real time: threads, queues, sessions and counters."""
