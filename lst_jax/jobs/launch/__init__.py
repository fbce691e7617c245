"""From a recipe and a description of a cluster to a job: `lst launch`. Renders text; starts nothing."""
