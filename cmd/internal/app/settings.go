package app

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"

	"linepay-worker/linepay"
)

// Each group below is one embedded struct, so that a program takes only the settings it needs:
//
//	var cli struct {
//		NATS app.NATSSettings `embed:"" group:"NATS"`
//		Log  app.LogSettings  `embed:"" group:"Logs"`
//	}
//
// kong calls Validate of every group that it fills.

// NATSSettings say which NATS to use and how to identify to it.
type NATSSettings struct {
	URL   string `name:"nats-url" env:"NATS_URL" default:"nats://127.0.0.1:4222" help:"NATS servers, separated by commas."`
	Creds string `name:"nats-creds" env:"NATS_CREDS" placeholder:"FILE" help:"Credentials file (JWT and key) for NATS."`
	NKey  string `name:"nats-nkey" env:"NATS_NKEY" placeholder:"FILE" help:"File with the NKey seed for NATS."`
	CA    string `name:"nats-ca" env:"NATS_CA" placeholder:"FILE" help:"File with the certificates (PEM) that NATS' certificate is checked against."`
	Cert  string `name:"nats-cert" env:"NATS_CERT" placeholder:"FILE" help:"Client certificate (PEM) for NATS."`
	Key   string `name:"nats-key" env:"NATS_KEY" placeholder:"FILE" help:"Key (PEM) of the client certificate for NATS."`
	Inbox string `name:"nats-inbox-prefix" env:"NATS_INBOX_PREFIX" default:"_INBOX" help:"What the subjects begin with that NATS answers on. Who may subscribe to those reads the answers, so that each account should have a prefix of its own."`
}

// Validate checks the settings against each other; files are read when the connection is made.
func (s NATSSettings) Validate() error {
	var p problems
	p.require(s.URL != "", "NATS_URL", s.URL, "must name at least one server, such as nats://127.0.0.1:4222")
	p.require(s.Creds == "" || s.NKey == "", "NATS_NKEY", s.NKey, "must be empty when NATS_CREDS is set: a connection has one identity")
	p.require(s.Cert == "" || s.Key != "", "NATS_CERT", s.Cert, "needs NATS_KEY, the key of that certificate")
	p.require(s.Key == "" || s.Cert != "", "NATS_KEY", s.Key, "needs NATS_CERT, the certificate of that key")
	p.require(s.Inbox == "" || inboxPrefix.MatchString(s.Inbox), "NATS_INBOX_PREFIX", s.Inbox, "must be the beginning of a subject, such as _INBOX.worker, without a dot at its end")
	return p.error()
}

var inboxPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// RedisSettings say where the guard lives.
type RedisSettings struct {
	URL  string `name:"redis-url" env:"REDIS_URL" default:"redis://127.0.0.1:6379/0" help:"Redis: redis://, rediss:// (TLS), unix://, redis+sentinel://[user:pass@]host:port,host:port/db?master=name, redis+cluster://host:port,host:port."`
	CA   string `name:"redis-ca" env:"REDIS_CA" placeholder:"FILE" help:"File with the certificates (PEM) that Redis' certificate is checked against."`
	Cert string `name:"redis-cert" env:"REDIS_CERT" placeholder:"FILE" help:"Client certificate (PEM) for Redis."`
	Key  string `name:"redis-key" env:"REDIS_KEY" placeholder:"FILE" help:"Key (PEM) of the client certificate for Redis."`
}

// Validate checks that the address can be read, and the settings against each other; files are read when the client is made.
func (s RedisSettings) Validate() error {
	target, err := parseRedisURL(s.URL)
	if err != nil {
		return err
	}
	var p problems
	p.require(target.tls || s.CA == "", "REDIS_CA", s.CA, "needs TLS: write rediss:// in REDIS_URL")
	p.require(target.tls || s.Cert == "", "REDIS_CERT", s.Cert, "needs TLS: write rediss:// in REDIS_URL")
	p.require(s.Cert == "" || s.Key != "", "REDIS_CERT", s.Cert, "needs REDIS_KEY, the key of that certificate")
	p.require(s.Key == "" || s.Cert != "", "REDIS_KEY", s.Key, "needs REDIS_CERT, the certificate of that key")
	return p.error()
}

// StreamSettings say how the worker creates streams that do not exist. What exists is never narrowed.
type StreamSettings struct {
	DedupeWindow time.Duration `name:"dedupe-window" env:"DEDUPE_WINDOW" default:"10m" help:"Duplicate window of the streams the worker creates (duration, at least 100ms)."`
	Replicas     int           `name:"replicas" default:"1" help:"Replicas of the streams the worker creates (1 to 5)."`
	Provision    bool          `name:"provision" default:"true" negatable:"" help:"Create missing streams and consumers (default: yes)."`
}

// Validate checks what JetStream would refuse.
func (s StreamSettings) Validate() error {
	var p problems
	p.require(s.DedupeWindow >= 100*time.Millisecond, "DEDUPE_WINDOW", s.DedupeWindow, "must be at least 100ms, the least JetStream takes")
	p.require(s.Replicas >= 1 && s.Replicas <= 5, "--replicas", s.Replicas, "must be 1 to 5, what JetStream takes")
	return p.error()
}

// WorkerSettings are the limits of the worker itself.
type WorkerSettings struct {
	Concurrency     int           `name:"concurrency" env:"CONCURRENCY" default:"64" help:"Commands in flight per channel (1 to 10000)."`
	ReadTimeout     time.Duration `name:"read-timeout" env:"READ_TIMEOUT" placeholder:"DURATION" help:"Time to wait for an answer of LINE Pay, the same for all calls (duration; default: per call, as documented by LINE Pay: 20s to 60s). Shorter ones are for tests."`
	LookupMargin    time.Duration `name:"lookup-margin" env:"LOOKUP_MARGIN" default:"30s" help:"Time on top of the read timeout before a look-up that finds nothing is believed (duration)."`
	RetryBudget     time.Duration `name:"retry-budget" env:"RETRY_BUDGET" default:"24h" help:"Time for which a command is tried again before it is parked (duration)."`
	RetryMin        time.Duration `name:"retry-min" env:"RETRY_MIN" default:"1s" help:"Wait before the first retry, give or take half of it (duration)."`
	RetryMax        time.Duration `name:"retry-max" env:"RETRY_MAX" default:"5m" help:"What the waits before retries grow to (duration)."`
	RecordRetention time.Duration `name:"record-retention" env:"RECORD_RETENTION" default:"2160h" help:"How long the guard remembers settled operations (duration, at least 1m)."`
	ShutdownGrace   time.Duration `name:"shutdown-grace" env:"SHUTDOWN_GRACE" default:"75s" help:"Time for calls in flight to end after SIGTERM (duration, longer than the longest read timeout)."`
	RedisWait       int           `name:"redis-wait" env:"REDIS_WAIT" default:"0" help:"Redis replicas that must have a claim before LINE Pay is called (0 to 100)."`
	Cautious        bool          `name:"cautious" env:"CAUTIOUS" default:"false" help:"Take nothing for fresh: look up first. For the time after a disaster recovery."`
}

// LongestReadTimeout is the longest time that one call to LINE Pay may take under these settings.
func (s WorkerSettings) LongestReadTimeout() time.Duration {
	if s.ReadTimeout > 0 {
		return s.ReadTimeout
	}
	return longestDocumented()
}

func longestDocumented() (longest time.Duration) {
	for _, op := range linepay.Operations() {
		longest = max(longest, op.ReadTimeout())
	}
	return longest
}

// Validate checks each limit, and the limits against each other.
func (s WorkerSettings) Validate() error {
	var p problems
	p.require(s.Concurrency >= 1 && s.Concurrency <= maxConcurrency, "CONCURRENCY", s.Concurrency, "must be 1 to 10000")
	p.require(s.ReadTimeout >= 0, "READ_TIMEOUT", s.ReadTimeout, "must not be negative; 0 means LINE Pay's documented time per call")
	p.require(s.LookupMargin >= 0, "LOOKUP_MARGIN", s.LookupMargin, "must not be negative")
	p.require(s.RetryBudget > 0, "RETRY_BUDGET", s.RetryBudget, "must be longer than 0")
	p.require(s.RetryMin > 0, "RETRY_MIN", s.RetryMin, "must be longer than 0: a retry without a wait is a storm")
	p.require(s.RetryMax >= s.RetryMin, "RETRY_MAX", s.RetryMax, fmt.Sprintf("must not be shorter than RETRY_MIN (%s)", s.RetryMin))
	p.require(s.RetryBudget <= 0 || s.RetryBudget >= s.RetryMax, "RETRY_BUDGET", s.RetryBudget,
		fmt.Sprintf("must not be shorter than RETRY_MAX (%s), or a command is parked before its longest wait is over", s.RetryMax))
	p.require(s.RecordRetention >= time.Minute, "RECORD_RETENTION", s.RecordRetention, "must be at least 1m")
	p.require(s.ShutdownGrace > s.LongestReadTimeout(), "SHUTDOWN_GRACE", s.ShutdownGrace,
		fmt.Sprintf("must be longer than the longest read timeout (%s), so that no call is cut off in flight", s.LongestReadTimeout()))
	p.require(s.RedisWait >= 0 && s.RedisWait <= 100, "REDIS_WAIT", s.RedisWait, "must be 0 to 100")
	return p.error()
}

// usualLookupMargin is the default of LOOKUP_MARGIN.
const usualLookupMargin = 30 * time.Second

// Warnings names settings that are allowed and yet doubtful, one line each, for the log at start.
func (s WorkerSettings) Warnings() []string {
	var warnings []string
	if s.ReadTimeout > 0 && s.ReadTimeout < longestDocumented() {
		warnings = append(warnings, fmt.Sprintf("READ_TIMEOUT (--read-timeout) is %s, below the %s that LINE Pay documents for its "+
			"slowest call: answers will be given up that were on their way. For tests only", s.ReadTimeout, longestDocumented()))
	}
	if s.LookupMargin < usualLookupMargin {
		warnings = append(warnings, fmt.Sprintf("LOOKUP_MARGIN (--lookup-margin) is %s, below %s: a call that LINE Pay is still working on may be "+
			"taken for one that never happened, and be made a second time. For tests only", s.LookupMargin, usualLookupMargin))
	}
	if s.RecordRetention < s.RetryBudget {
		warnings = append(warnings, fmt.Sprintf("RECORD_RETENTION (--record-retention) is %s, shorter than RETRY_BUDGET (%s): "+
			"a command may be delivered again after the guard has forgotten it", s.RecordRetention, s.RetryBudget))
	}
	return warnings
}

// adminOff as ADMIN_ADDR means: no admin server.
const adminOff = "off"

// AdminSettings say where health, readiness and metrics are served.
type AdminSettings struct {
	Addr string `name:"admin-addr" env:"ADMIN_ADDR" default:"127.0.0.1:8080" help:"Address for /healthz, /readyz and /metrics (host:port; off: none)."`
}

// Enabled reports whether there is to be an admin server.
func (s AdminSettings) Enabled() bool { return s.Addr != adminOff }

// Validate checks the form of the address.
func (s AdminSettings) Validate() error {
	var p problems
	p.require(!s.Enabled() || isHostPort(s.Addr), "ADMIN_ADDR", s.Addr, "must be host:port with a port from 0 to 65535, or off")
	return p.error()
}

func isHostPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}
