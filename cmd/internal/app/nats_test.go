package app

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"linepay-worker/consumer/consumertest"
)

// freePort gives a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

func startNATS(t *testing.T, options server.Options) *server.Server {
	t.Helper()
	options.Host, options.NoLog, options.NoSigs = "127.0.0.1", true, true
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	return s
}

// lines is a log that can be read while it is written.
type lines struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	written chan struct{}
}

func newLines() *lines { return &lines{written: make(chan struct{}, 100)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.written <- struct{}{} }()
	return l.buffer.Write(p)
}

func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		l.mu.Lock()
		log := l.buffer.String()
		l.mu.Unlock()
		if strings.Contains(log, text) {
			return
		}
		select {
		case <-l.written:
		case <-deadline:
			t.Fatalf("the log never said %q:\n%s", text, log)
		}
	}
}

func TestConnectionComesBackWhenNATSDoesAndLogsIt(t *testing.T) {
	t.Parallel()
	s := startNATS(t, server.Options{})
	log := newLines()
	conn, err := ConnectNATS(NATSSettings{URL: s.ClientURL()}, "worker-1", zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.Opts.Name != "worker-1" || conn.Opts.MaxReconnect != -1 {
		t.Errorf("name %q, reconnects %d, want worker-1 and -1", conn.Opts.Name, conn.Opts.MaxReconnect)
	}
	port := s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	log.await(t, "NATS connection lost")
	if err := conn.Publish("a", nil); !errors.Is(err, nats.ErrReconnectBufExceeded) {
		t.Errorf("publishing without a connection: %v, want that it fails at once", err)
	}
	startNATS(t, server.Options{Port: port})
	log.await(t, "NATS connection back")
}

func TestNATSRefusalsSayWhatToDoAndHideCredentials(t *testing.T) {
	t.Parallel()
	guarded := startNATS(t, server.Options{Username: "worker", Password: "right"})
	host := strings.TrimPrefix(guarded.ClientURL(), "nats://")
	missing := t.TempDir() + "/missing"
	for name, row := range map[string]struct {
		settings NATSSettings
		want     string
	}{
		"nobody there":   {NATSSettings{URL: "nats://u:hush@127.0.0.1:" + freePort(t)}, "NATS_URL (--nats-url) is nats://…@127.0.0.1:"},
		"wrong password": {NATSSettings{URL: "nats://worker:hush@" + host}, "NATS refuses the credentials"},
		"not an address": {NATSSettings{URL: "nats://u:hush@ho st:%zz"}, "not an address such as nats://host:4222"},
		"no creds":       {NATSSettings{URL: guarded.ClientURL(), Creds: missing}, "NATS_CREDS (--nats-creds) is " + missing + ": cannot be read"},
		"no seed":        {NATSSettings{URL: guarded.ClientURL(), NKey: missing}, "NATS_NKEY (--nats-nkey) is " + missing + ": is not a file with an NKey seed"},
		"no CA":          {NATSSettings{URL: guarded.ClientURL(), CA: missing}, "NATS_CA (--nats-ca) is " + missing + ": cannot be read"},
		"no certificate": {NATSSettings{URL: guarded.ClientURL(), Cert: missing, Key: missing}, "NATS_CERT (--nats-cert) is " + missing + ": cannot be read"},
	} {
		_, err := ConnectNATS(row.settings, "test", zerolog.Nop())
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want %q", name, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func TestNATSTakesAnNKey(t *testing.T) {
	t.Parallel()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	s := startNATS(t, server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})
	conn, err := ConnectNATS(NATSSettings{URL: s.ClientURL(), NKey: write(t, "user.nk", string(seed))}, "test", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := ConnectNATS(NATSSettings{URL: s.ClientURL()}, "test", zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "refuses the credentials") {
		t.Errorf("without the key: error %v, want a refusal", err)
	}
}

// operated starts a NATS server of an operator, with one account, and gives the credentials of a user of it.
func operated(t *testing.T) (s *server.Server, creds string) {
	t.Helper()
	make := func(create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string) {
		pair, err := create()
		if err != nil {
			t.Fatal(err)
		}
		if public, err = pair.PublicKey(); err != nil {
			t.Fatal(err)
		}
		return pair, public
	}
	operator, operatorID := make(nkeys.CreateOperator)
	account, accountID := make(nkeys.CreateAccount)
	user, userID := make(nkeys.CreateUser)
	encode := func(claims jwt.Claims, by nkeys.KeyPair) string {
		text, err := claims.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	claims := jwt.NewOperatorClaims(operatorID)
	encode(claims, operator)
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(accountID, encode(jwt.NewAccountClaims(accountID), operator)); err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	content, err := jwt.FormatUserConfig(encode(jwt.NewUserClaims(userID), account), seed)
	if err != nil {
		t.Fatal(err)
	}
	s = startNATS(t, server.Options{TrustedOperators: []*jwt.OperatorClaims{claims}, AccountResolver: resolver})
	return s, write(t, "user.creds", string(content))
}

func TestNATSTakesACredentialsFile(t *testing.T) {
	t.Parallel()
	s, creds := operated(t)
	conn, err := ConnectNATS(NATSSettings{URL: s.ClientURL(), Creds: creds}, "test", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := ConnectNATS(NATSSettings{URL: s.ClientURL()}, "test", zerolog.Nop()); !strings.Contains(fmt.Sprint(err), "refuses the credentials") {
		t.Errorf("without credentials: error %v, want a refusal", err)
	}
}

func TestNATSOverTLSChecksBothCertificates(t *testing.T) {
	t.Parallel()
	files, stranger := consumertest.Certificates(t), consumertest.Certificates(t)
	config, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: files.Cert, KeyFile: files.Key, CaFile: files.CA, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	s := startNATS(t, server.Options{TLSConfig: config, TLSVerify: true, TLSTimeout: 5})
	conn, err := ConnectNATS(NATSSettings{URL: s.ClientURL(), CA: files.CA, Cert: files.Cert, Key: files.Key}, "test", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for name, settings := range map[string]NATSSettings{
		"without a certificate":           {URL: s.ClientURL(), CA: files.CA},
		"with a stranger's certificate":   {URL: s.ClientURL(), CA: files.CA, Cert: stranger.Cert, Key: stranger.Key},
		"from a server that is not known": {URL: s.ClientURL(), CA: stranger.CA, Cert: files.Cert, Key: files.Key},
		"from a server of the system":     {URL: s.ClientURL(), Cert: files.Cert, Key: files.Key},
	} {
		if conn, err := ConnectNATS(settings, "test", zerolog.Nop()); err == nil {
			conn.Close()
			t.Errorf("%s: a connection is made", name)
		}
	}
}
