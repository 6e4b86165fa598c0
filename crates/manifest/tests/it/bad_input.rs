//! Every mistake has a message that names it, shows it and says what to do.
