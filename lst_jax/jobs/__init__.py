"""Many runs, and runs elsewhere: `lst launch` renders jobs, `lst sweep` runs families."""
