//! The exit codes, part of the program's contract.

/// Done, or stopped by a signal as asked.
pub const DONE: u8 = 0;
/// Something failed that no other code names.
pub const FAILED: u8 = 1;
/// A flag, a variable or the configuration file is wrong.
pub const USAGE: u8 = 2;
/// The address is taken, or may not be listened on.
pub const ADDRESS: u8 = 3;
/// The data folder is refused: not writable, somebody else's, in use, or not a data folder.
pub const DATA_DIR: u8 = 4;
/// The database is too new for this build, or cannot be opened.
pub const DATABASE: u8 = 5;
/// The key file is missing, exposed, unreadable, or belongs to another database.
pub const KEY: u8 = 6;
/// `admin` was asked for what is not there: a user, or a token after the first user was made.
pub const NOT_FOUND: u8 = 7;
