"""Whether this host can run a job, before the job is paid for: `lst doctor`. Each check gives findings, and mends nothing."""
