"""Who talks to whom: model actors, coordinator, runtimes, and the collaboration that users hold."""
