"""The roof: settings, processes, metrics, embedded servers, command line."""
