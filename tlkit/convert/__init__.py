"""From a run to artifacts, each proven in the runtime that will run it."""
