"""``spoc cluster uninstall``: what is there is read, a plan says what goes, steps remove it."""
