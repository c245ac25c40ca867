// Package app holds what the programs of linepay-worker share: settings from flags and environment, logs, connections to NATS and
// Redis, the admin server, the version line and one group of actors that starts and ends together.
//
// It knows nothing of payments: what a command is and what becomes of it is decided in the packages that the programs wire together.
// It promises that no credential reaches a log, an error or --help: secrets are linepay.Secret, and addresses are shown without the
// user information they may carry.
package app
