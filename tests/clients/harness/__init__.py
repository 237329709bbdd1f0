"""What the client tests stand on: real servers, real clients, each in a process of its own."""
