"""The commands of the command line, one file a family; each is thin: parse, call the library, print."""
