"""The HTTP and websocket server and its wire protocol."""
