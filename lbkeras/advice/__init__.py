"""`plan --auto` and `plan --probe`: measure on this machine and recommend a plan, with reasons."""
