"""``spoc cluster status``: facts are read, findings follow from facts, a report shows them."""
