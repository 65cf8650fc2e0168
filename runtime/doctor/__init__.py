"""The doctor: what this host grants, and what to do where it grants too little."""
