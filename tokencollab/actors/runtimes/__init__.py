"""Where models run: threads of this process, Ray actors, and the sockets between processes."""
