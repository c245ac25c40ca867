package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"linepay-worker/consumer/consumertest"
)

func TestRedisAddressesAreReadInEveryForm(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]redisTarget{
		"redis://127.0.0.1:6379/0":        {kind: "single", hosts: []string{"127.0.0.1:6379"}},
		"redis://redis":                   {kind: "single", hosts: []string{"redis:6379"}},
		"redis://[::1]/2":                 {kind: "single", hosts: []string{"[::1]:6379"}, db: 2},
		"redis://[::1]:7000/2/":           {kind: "single", hosts: []string{"[::1]:7000"}, db: 2},
		"redis://host?db=3":               {kind: "single", hosts: []string{"host:6379"}, db: 3},
		"redis://:pw@host:1":              {kind: "single", password: "pw", hosts: []string{"host:1"}},
		"redis://u:p%40%2F%3Fw@host:1":    {kind: "single", username: "u", password: "p@/?w", hosts: []string{"host:1"}},
		"redis://u:p/a@b,c:d@host:1/4":    {kind: "single", username: "u", password: "p/a@b,c:d", hosts: []string{"host:1"}, db: 4},
		"redis://u:p+w@host:1":            {kind: "single", username: "u", password: "p+w", hosts: []string{"host:1"}},
		"rediss://u:p@host:1/1":           {kind: "single", tls: true, username: "u", password: "p", hosts: []string{"host:1"}, db: 1},
		"unix:///run/redis.sock":          {kind: "unix", hosts: []string{"/run/redis.sock"}},
		"unix:///run/a@b.sock":            {kind: "unix", hosts: []string{"/run/a@b.sock"}},
		"unix://u:p@/run/redis.sock?db=5": {kind: "unix", username: "u", password: "p", hosts: []string{"/run/redis.sock"}, db: 5},
		"redis+sentinel://u:p@a:1,b,c:3/2?master=main": {
			kind: "sentinel", username: "u", password: "p", hosts: []string{"a:1", "b:26379", "c:3"}, db: 2, master: "main",
		},
		"rediss+sentinel://a?master=m&sentinel_username=su&sentinel_password=s%26p": {
			kind: "sentinel", tls: true, hosts: []string{"a:26379"}, master: "m", sentinelUser: "su", sentinel: "s&p",
		},
		"redis+cluster://u:p@a:1,b:2": {kind: "cluster", username: "u", password: "p", hosts: []string{"a:1", "b:2"}},
		"rediss+cluster://a,b/0":      {kind: "cluster", tls: true, hosts: []string{"a:6379", "b:6379"}},
	} {
		got, err := parseRedisURL(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(redisTarget{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
}

func TestRedisAddressIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                                          "must begin with redis://",
		"127.0.0.1:6379":                            "must begin with redis://",
		"http://u:hush@host":                        "must begin with redis://",
		"redis://":                                  "must name host:port",
		"redis://u:hush@":                           "must name host:port",
		"redis://u:hush@host:port":                  "must name host:port",
		"redis://u:hush@host:70000":                 "must name host:port",
		"redis://u:hush@a:1:2":                      "must name host:port",
		"redis://u:hush@a b:1":                      "must name host:port",
		"redis://u:hush%zz@host":                    "stray %",
		"redis://u:hush@host/x":                     "not a number",
		"redis://u:hush@host/-1":                    "not a number",
		"redis://u:hush@host/1/2":                   "not a number",
		"redis://u:hush@a:1,b:2":                    "several hosts",
		"redis://u:hush@host?maxretries=3":          `unknown option "maxretries"; known are: db`,
		"redis://u:hush@host?%zz":                   "cannot be read",
		"redis://u:hu?sh@host":                      "",
		"unix://u:hush@":                            "path of a socket",
		"unix://run/redis.sock":                     "path of a socket",
		"redis+sentinel://u:hush@a,b/0":             "needs ?master=name",
		"redis+sentinel://u:hush@a,,b?master=m":     "must name host:port",
		"redis+sentinel://a?master=m&password=hush": `unknown option "password"`,
		"redis+cluster://u:hush@a,b/1":              "a cluster has only database 0",
		"redis+cluster://u:hush@a,b?master=m":       `unknown option "master"`,
	} {
		_, err := ConnectRedis(RedisSettings{URL: address})
		var broken *SettingError
		if !errors.As(err, &broken) || broken.Setting != "REDIS_URL" || !strings.Contains(broken.Rule, want) {
			t.Errorf("%s: error %v, want %q", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error shows the password: %v", address, err)
		}
	}
}

func TestRedisClientsNeverRepeatCommandsByThemselves(t *testing.T) {
	t.Parallel()
	for address, kind := range map[string]string{
		"rediss://u:p@host/1": "single", "unix:///run/redis.sock": "unix", "redis+sentinel://a/3?master=m": "sentinel",
		"rediss+cluster://u:p@a,b": "cluster",
	} {
		client, err := ConnectRedis(RedisSettings{URL: address})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		switch client := client.(type) {
		case *redis.Client:
			o := client.Options()
			if o.MaxRetries > 0 || !o.ContextTimeoutEnabled || o.DialTimeout != redisDialTimeout || o.ReadTimeout != redisTimeout {
				t.Errorf("%s: retries %d, timeouts by context %t, dial %s, read %s", kind, o.MaxRetries, o.ContextTimeoutEnabled, o.DialTimeout, o.ReadTimeout)
			}
			if kind == "single" && (o.TLSConfig == nil || o.Username != "u" || o.Password != "p" || o.DB != 1) {
				t.Errorf("single: TLS, user, password or database did not arrive")
			}
			if kind == "unix" && (o.Network != "unix" || o.Addr != "/run/redis.sock" || o.TLSConfig != nil) {
				t.Errorf("unix: network %s, address %s", o.Network, o.Addr)
			}
			if kind == "sentinel" && o.DB != 3 {
				t.Errorf("sentinel: database %d", o.DB)
			}
		case *redis.ClusterClient:
			o := client.Options()
			if kind != "cluster" || o.MaxRetries > 0 || !o.ContextTimeoutEnabled || o.TLSConfig == nil || o.Password != "p" || len(o.Addrs) != 2 {
				t.Errorf("%s: retries %d, addresses %v", kind, o.MaxRetries, o.Addrs)
			}
		}
	}
}

func TestUnreachableRedisIsAnErrorAndNotAWait(t *testing.T) {
	t.Parallel()
	address := "redis://u:hush@127.0.0.1:" + freePort(t)
	client, err := ConnectRedis(RedisSettings{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = PingRedis(t.Context(), client, address)
	if err == nil || !strings.Contains(err.Error(), "REDIS_URL (--redis-url) is redis://…@127.0.0.1:") || !strings.Contains(err.Error(), "no answer from Redis") || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v, want no answer from Redis, without the password", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := PingRedis(ended, client, address); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that the context ended", err)
	}
}

func TestRedisThatRefusesIsToldFromOneThatIsNotThere(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	server.RequireUserAuth("worker", "right")
	for address, want := range map[string]string{
		"redis://worker:hush@" + server.Addr():         ": Redis refuses: WRONGPASS ",
		"redis://" + server.Addr():                     ": Redis refuses: NOAUTH ",
		"redis://worker:right@" + server.Addr() + "/1": "",
	} {
		client, err := ConnectRedis(RedisSettings{URL: address})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		err = PingRedis(t.Context(), client, address)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", redact(address), err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), "REDIS_URL (--redis-url) is "+redact(address)+want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: error %v, want %q and no password", redact(address), err, want)
		}
	}
}

func FuzzRedisAddressNeverPanicsOrShowsItsPassword(f *testing.F) {
	for _, seed := range []string{"redis://", "host:6379", "u:", "@", "a,b?master=m", "[::1]", "[", "host/1?db=2", "]:1"} {
		f.Add("redis", seed)
		f.Add("redis+sentinel", seed)
		f.Add("unix", seed)
	}
	f.Fuzz(func(t *testing.T, scheme, rest string) {
		if strings.Contains(scheme, "hush-hush") || strings.Contains(rest, "hush-hush") {
			return
		}
		_, err := parseRedisURL(scheme + "://user:hush-hush@" + rest)
		if err != nil && strings.Contains(err.Error(), "hush-hush") {
			t.Errorf("the error shows the password: %v", err)
		}
	})
}

func TestRedisClientSpeaksThroughTheLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	redisLog{zerolog.New(&log)}.Printf(t.Context(), "new master %s", "host:1")
	if want := `{"level":"debug","message":"Redis client: new master host:1"}` + "\n"; log.String() != want {
		t.Errorf("line %q, want %q", log.String(), want)
	}
}

func TestRedisOverTLSChecksCertificatesAndTakesAnACLUser(t *testing.T) {
	t.Parallel()
	files, stranger := consumertest.Certificates(t), consumertest.Certificates(t)
	port := freePort(t)
	consumertest.Redis(t, "--tls-port", port, "--tls-cert-file", files.Cert, "--tls-key-file", files.Key, "--tls-ca-cert-file", files.CA,
		"--tls-auth-clients", "yes", "--user", "worker", "on", ">right", "~{linepay:*", "+@all")
	address := func(password string) string { return "rediss://worker:" + password + "@127.0.0.1:" + port }
	for name, row := range map[string]struct {
		settings RedisSettings
		want     string
	}{
		"as it should be":            {RedisSettings{address("right"), files.CA, files.Cert, files.Key}, ""},
		"wrong password":             {RedisSettings{address("hush"), files.CA, files.Cert, files.Key}, "WRONGPASS"},
		"no certificate":             {RedisSettings{address("right"), files.CA, "", ""}, "no answer from Redis"},
		"a stranger's certificate":   {RedisSettings{address("right"), files.CA, stranger.Cert, stranger.Key}, "no answer from Redis"},
		"a server that is not known": {RedisSettings{address("right"), stranger.CA, files.Cert, files.Key}, "certificate signed by unknown authority"},
		"a server of the system":     {RedisSettings{address("right"), "", files.Cert, files.Key}, "certificate signed by unknown authority"},
		"no TLS":                     {RedisSettings{"redis://worker:right@127.0.0.1:" + port, "", "", ""}, "no answer from Redis"},
	} {
		client, err := ConnectRedis(row.settings)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { _ = client.Close() })
		err = PingRedis(t.Context(), client, row.settings.URL)
		said := fmt.Sprint(err)
		if row.want == "" && err != nil || row.want != "" && !strings.Contains(said, row.want) || strings.Contains(said, "hush") {
			t.Errorf("%s: error %v, want %q", name, err, row.want)
		}
	}
	_, err := ConnectRedis(RedisSettings{address("right"), write(t, "ca.pem", "nothing"), "", ""})
	if err == nil || !strings.Contains(err.Error(), "REDIS_CA (--redis-ca)") {
		t.Errorf("a file without certificates: %v", err)
	}
	_, err = ConnectRedis(RedisSettings{address("right"), files.CA, files.Cert, stranger.Key})
	if err == nil || !strings.Contains(err.Error(), "REDIS_CERT (--redis-cert)") {
		t.Errorf("the key of another certificate: %v", err)
	}
}
