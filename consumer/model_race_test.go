//go:build race

package consumer_test

// modelRace says that the race detector watches.
const modelRace = true
