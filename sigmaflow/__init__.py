"""Settings, the local stack and the command line of Sigmaflow."""
