"""Messages between the containers of one pod: msgpack frames over unix sockets."""
