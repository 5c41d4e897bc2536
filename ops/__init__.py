"""The roof: settings, wiring, metrics, embedded servers, command line."""
