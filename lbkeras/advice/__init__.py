"""`plan --auto` and `plan --probe`: measure on this machine, recommend a plan, say why."""
