"""Tables, manifests, configuration and the sweep."""
