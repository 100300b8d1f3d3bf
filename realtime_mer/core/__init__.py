"""From samples to estimates: computation only, without threads, sockets or waiting."""
