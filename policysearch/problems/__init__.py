"""Problems: what a run is about, so that a study need not know what is trained, nor on what."""
