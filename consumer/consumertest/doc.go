// Package consumertest starts what the worker stands between, for tests: a NATS server with JetStream on disk, a redis-server process, and
// the LINE Pay simulator. Each test gets its own, on loopback ports of their own, gone when the test ends; each can be stopped in the
// middle of a test and started again with what it had stored.
//
// NATS and Redis are the real ones, since a stand-in would not forget, refuse or lag the way they do. A missing redis-server fails the
// test; nothing is ever skipped. Methods that can fail the test belong on the test's own goroutine.
package consumertest
