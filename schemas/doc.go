// Package schemas holds the words on the bus: commands, events and dead letters, the names of their streams, subjects and headers, and
// the JSON Schemas that say the same to other languages.
//
// It decides whether a message is a command, and says what is wrong with one that is not. It knows nothing of what became of a command:
// that is for the guard and the line. Reading never guesses: member names are exact, unknown and duplicate members are refused, ids and
// amounts are never read through a float.
package schemas
