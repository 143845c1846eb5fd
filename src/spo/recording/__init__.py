"""Turn what was observed into profiles, and compare them: pure, used by the daemon and by ``spoc``."""
