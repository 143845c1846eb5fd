"""The process ``log-enricher``: reads audit records, adds pod and container, prints and counts them."""
