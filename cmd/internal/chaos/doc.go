// Package chaos is a test of the built programs from outside: workers, a NATS cluster, Redis with a replica and LINE Pay's simulator,
// while processes are killed and stopped, connections are cut and held up, and LINE Pay loses its answers. When the faults are over, the
// events must say exactly what LINE Pay's ledger says, and every command must be accounted for.
//
// Another test replays dead letters with linepayctl, by two operators at once, while workers and an operator are killed.
//
// A short form runs with all other tests. The whole of it, with 20,000 commands, 10,000 dead letters and a Redis that loses its memory, is
//
//	make chaos
//
// The package has no code but its tests. Variables choose how much of it there is:
//
//	CHAOS           full: the big form, and the scenarios in which Redis loses its memory
//	CHAOS_SEED      repeats the decisions of a run, though not the moments at which they meet the processes
//	CHAOS_COMMANDS  how many commands
//	CHAOS_FAULTS    how many faults of processes, at least
//	CHAOS_FOR       over how long the commands and faults are spread, such as 90s
//	CHAOS_LOGS      folder for the logs, ledger and events of a run; those of a failed run are kept
package chaos
