package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/rs/zerolog"
)

// Short, because a claim that waits for Redis holds a command up: better to hand the command back and try again.
const (
	redisDialTimeout = 2 * time.Second
	redisTimeout     = 3 * time.Second
)

// ConnectRedis makes a client. It sends nothing yet: ping to learn whether Redis is there. onConnect, if given, runs on
// every new connection before its first use.
//
//	redis://[user:password@]host[:port][/db]          rediss:// for TLS
//	unix://[user:password@]/path/to/socket[?db=n]
//	redis+sentinel://[user:password@]host[:port],host[:port][/db]?master=name
//	    user and password are those of the data nodes; the Sentinels' own go into sentinel_username, sentinel_password
//	redis+cluster://[user:password@]host[:port],host[:port]
//	    rediss+sentinel://, rediss+cluster:// for TLS
//
// The client never repeats a command by itself: whether a claim may be tried again is the guard's decision.
func ConnectRedis(s RedisSettings, onConnect ...func(context.Context, *redis.Conn) error) (redis.UniversalClient, error) {
	target, err := parseRedisURL(s.URL)
	if err != nil {
		return nil, err
	}
	if target.roots, target.identity, err = s.files(); err != nil {
		return nil, err
	}
	hook := func(ctx context.Context, conn *redis.Conn) error {
		for _, each := range onConnect {
			if err := each(ctx, conn); err != nil {
				return err
			}
		}
		return nil
	}
	return target.client(hook), nil
}

// LogRedis sends what go-redis has to say about connections, Sentinels and cluster nodes to logger, for the whole process. Without it,
// go-redis writes plain text to standard error. The lines name hosts, never credentials.
func LogRedis(logger zerolog.Logger) { redis.SetLogger(redisLog{logger}) }

type redisLog struct{ logger zerolog.Logger }

func (l redisLog) Printf(_ context.Context, format string, values ...any) {
	l.logger.Debug().Msgf("Redis client: "+format, values...)
}

// redisTarget is a REDIS_URL taken apart.
type redisTarget struct {
	kind                   string // single, unix, sentinel, cluster
	tls                    bool
	username, password     string
	hosts                  []string // host:port, or the socket's path
	db                     int
	master                 string
	sentinelUser, sentinel string // user and password of the Sentinels

	roots    *x509.CertPool    // that its certificate is checked against; nil: the system's
	identity []tls.Certificate // of this client
}

// parseRedisURL takes the user information off before anything else looks at the address: the errors of net/url quote what they cannot
// parse. It works by hand since net/url refuses a list of hosts.
func parseRedisURL(address string) (redisTarget, error) {
	fail := func(rule string) (redisTarget, error) {
		return redisTarget{}, &SettingError{Setting: "REDIS_URL", Value: redact(address), Rule: rule}
	}
	scheme, rest, _ := strings.Cut(address, "://")
	target, known := redisSchemes[scheme]
	if !known {
		return fail("must begin with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://")
	}
	rest, rawQuery, _ := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 && !strings.HasPrefix(rest, "/") {
		var ok bool
		if target.username, target.password, ok = userinfo(rest[:at]); !ok {
			return fail("has a user or password with a stray %: write % as %25")
		}
		rest = rest[at+1:]
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return fail("has options after ? that cannot be read; if the password holds a ?, write it as %3F")
	}
	if problem := target.locate(rest, query); problem != "" {
		return fail(problem)
	}
	if problem := target.options(query); problem != "" {
		return fail(problem)
	}
	return target, nil
}

var redisSchemes = map[string]redisTarget{
	"redis": {kind: "single"}, "rediss": {kind: "single", tls: true}, "unix": {kind: "unix"},
	"redis+sentinel": {kind: "sentinel"}, "rediss+sentinel": {kind: "sentinel", tls: true},
	"redis+cluster": {kind: "cluster"}, "rediss+cluster": {kind: "cluster", tls: true},
}

func userinfo(encoded string) (user, password string, ok bool) {
	rawUser, rawPassword, _ := strings.Cut(encoded, ":")
	user, err1 := url.PathUnescape(rawUser)
	password, err2 := url.PathUnescape(rawPassword)
	return user, password, err1 == nil && err2 == nil
}

// locate reads where Redis is and which database, and gives the broken rule, or "".
func (t *redisTarget) locate(rest string, query url.Values) string {
	db := query.Get("db")
	if t.kind == "unix" {
		if !strings.HasPrefix(rest, "/") || rest == "/" {
			return "must hold the path of a socket, as in unix:///run/redis.sock"
		}
		t.hosts = []string{rest}
	} else {
		hosts, path, _ := strings.Cut(rest, "/")
		if path != "" {
			db = strings.TrimSuffix(path, "/")
		}
		if problem := t.addHosts(hosts); problem != "" {
			return problem
		}
	}
	if db != "" {
		number, err := strconv.ParseUint(db, 10, 15)
		if err != nil {
			return "names a database that is not a number"
		}
		t.db = int(number)
	}
	if t.kind == "cluster" && t.db != 0 {
		return "names a database: a cluster has only database 0"
	}
	return ""
}

func (t *redisTarget) addHosts(hosts string) string {
	port := "6379"
	if t.kind == "sentinel" {
		port = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if name := strings.Trim(host, "[]"); !strings.Contains(host, ":") || (strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")) {
			host = net.JoinHostPort(name, port)
		}
		name, _, err := net.SplitHostPort(host)
		if err != nil || name == "" || !isHostPort(host) || strings.ContainsAny(name, " \t\r\n") {
			return "must name host:port, or several of them separated by commas where the form allows it"
		}
		t.hosts = append(t.hosts, host)
	}
	if t.kind == "single" && len(t.hosts) > 1 {
		return "names several hosts: write redis+sentinel:// or redis+cluster://"
	}
	return ""
}

// options reads what comes after the question mark; an option that is not known is refused, since it was meant to do something.
func (t *redisTarget) options(query url.Values) string {
	known := []string{"db"}
	if t.kind == "sentinel" {
		known = append(known, "master", "sentinel_username", "sentinel_password")
		t.master, t.sentinelUser, t.sentinel = query.Get("master"), query.Get("sentinel_username"), query.Get("sentinel_password")
		if t.master == "" {
			return "needs ?master=name, the name that the Sentinels know the master by"
		}
	}
	for name := range query {
		if !slices.Contains(known, name) {
			return fmt.Sprintf("has an unknown option %q; known are: %s", name, strings.Join(known, ", "))
		}
	}
	return ""
}

// client builds the client of that kind. The three share every limit; go-redis has no common type to write them once.
func (t redisTarget) client(onConnect func(context.Context, *redis.Conn) error) redis.UniversalClient {
	// Maintenance notifications are a feature of hosted Redis; asking for them costs a round trip per connection elsewhere. (The
	// Sentinel client never asks.)
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch t.kind {
	case "sentinel":
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: t.master, SentinelAddrs: t.hosts, SentinelUsername: t.sentinelUser, SentinelPassword: t.sentinel,
			Username: t.username, Password: t.password, DB: t.db, TLSConfig: t.tlsConfig(), OnConnect: onConnect, MaxRetries: -1,
			DialerRetries: 1, DialTimeout: redisDialTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout, ContextTimeoutEnabled: true,
		})
	case "cluster":
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: t.hosts, Username: t.username, Password: t.password, TLSConfig: t.tlsConfig(), OnConnect: onConnect, MaxRetries: -1,
			DialerRetries: 1, DialTimeout: redisDialTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout, ContextTimeoutEnabled: true,
			MaintNotificationsConfig: quiet,
		})
	}
	network := "tcp"
	if t.kind == "unix" {
		network = "unix"
	}
	return redis.NewClient(&redis.Options{
		Network: network, Addr: t.hosts[0], Username: t.username, Password: t.password, DB: t.db, TLSConfig: t.tlsConfig(), OnConnect: onConnect,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: redisDialTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: quiet,
	})
}

func (t redisTarget) tlsConfig() *tls.Config {
	if !t.tls {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.roots, Certificates: t.identity}
}

// CheckFiles reads the files that the settings name, once. Its errors name the setting.
func (s RedisSettings) CheckFiles() error {
	_, _, err := s.files()
	return err
}

func (s RedisSettings) files() (roots *x509.CertPool, identity []tls.Certificate, err error) {
	if s.CA != "" {
		content, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, nil, &SettingError{Setting: "REDIS_CA", Value: s.CA, Rule: fmt.Sprintf("cannot be read: %v", err)}
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(content) {
			return nil, nil, &SettingError{Setting: "REDIS_CA", Value: s.CA, Rule: "holds no certificate in PEM form"}
		}
	}
	if s.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, nil, &SettingError{Setting: "REDIS_CERT", Value: s.Cert, Rule: fmt.Sprintf("cannot be used with REDIS_KEY: %v", err)}
		}
		identity = []tls.Certificate{pair}
	}
	return roots, identity, nil
}

// PingRedis demands an answer of the Redis at an address. The error tells a Redis that refuses from one that is not there.
func PingRedis(ctx context.Context, client redis.UniversalClient, address string) error {
	err := client.Ping(ctx).Err()
	var refusal redis.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return &unreachableError{SettingError{Setting: "REDIS_URL", Value: redact(address), Rule: "Redis refuses: " + refusal.Error()}, err}
	default:
		rule := fmt.Sprintf("no answer from Redis: %v; check the address, and that Redis runs", err)
		return &unreachableError{SettingError{Setting: "REDIS_URL", Value: redact(address), Rule: rule}, err}
	}
}

// unreachableError is a setting whose server cannot be used, and why.
type unreachableError struct {
	SettingError
	cause error
}

// Unwrap gives the cause.
func (e *unreachableError) Unwrap() error { return e.cause }
