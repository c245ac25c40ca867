package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"linepay-worker/linepay/simulator"
)

// Where the servers listen if they may.
const (
	usualNATS      = "127.0.0.1:4222"
	usualRedis     = "127.0.0.1:6379"
	usualSimulator = "127.0.0.1:8081"
	freePort       = "127.0.0.1:0"
)

// servers are those that a worker needs, in this process.
type servers struct {
	nats      *server.Server
	redis     *miniredis.Miniredis
	simulator *simulator.Simulator
	web       *website
	folder    *folder
	notes     []string // what a person should know about the addresses
}

func (s *servers) natsURL() string      { return s.nats.ClientURL() }
func (s *servers) redisURL() string     { return "redis://" + s.redis.Addr() + "/0" }
func (s *servers) simulatorURL() string { return "http://" + s.web.addr }

// startServers starts all or none.
func startServers(args runArguments, logger zerolog.Logger) (s *servers, err error) {
	s = &servers{}
	defer func() {
		if err != nil {
			_ = s.close()
			s = nil
		}
	}()
	if s.folder, err = openFolder(args.Data); err != nil {
		return s, err
	}
	for _, each := range []struct {
		flag, asked, usual string
		start              func(addr string, logger zerolog.Logger) (listening string, err error)
	}{
		{"--nats-port", portAddress(args.NATSPort), usualNATS, s.startNATS},
		{"--redis-port", portAddress(args.RedisPort), usualRedis, s.startRedis},
		{"--simulator-addr", args.SimulatorAddr, usualSimulator, s.startSimulator},
	} {
		start := func(addr string) (string, error) { return each.start(addr, logger) }
		if err = s.place(start, args.Once, each.flag, each.asked, each.usual); err != nil {
			return s, err
		}
	}
	return s, nil
}

func portAddress(port uint16) string {
	if port == 0 {
		return ""
	}
	return "127.0.0.1:" + strconv.Itoa(int(port))
}

// place starts a server where it was asked for, or else at the usual address, or else, where that is taken, at a free port. A run for once
// takes a free port at once, so that it never meets another sandbox.
func (s *servers) place(start func(addr string) (listening string, err error), once bool, flag, asked, usual string) error {
	if asked != "" {
		if _, err := start(asked); err != nil {
			return fmt.Errorf("%s is %s: %w; choose another one, or leave the flag out for a free one", flag, asked, err)
		}
		return nil
	}
	if !once {
		if _, err := start(usual); err == nil {
			return nil
		}
	}
	listening, err := start(freePort)
	if err == nil && !once {
		s.notes = append(s.notes, fmt.Sprintf("%s is taken, so %s is used instead (%s chooses another one)", usual, listening, flag))
	}
	return err
}

const startTimeout = 5 * time.Second

func (s *servers) startNATS(addr string, logger zerolog.Logger) (listening string, err error) {
	// The server tells only its logger that it cannot listen, after it has opened the streams: it is better to know before.
	probe, err := listen(addr)
	if err != nil {
		return "", err
	}
	at := probe.Addr().(*net.TCPAddr)
	_ = probe.Close()
	if addr == freePort {
		at.Port = server.RANDOM_PORT
	}
	nats, err := server.NewServer(&server.Options{
		ServerName: program, Host: at.IP.String(), Port: at.Port, JetStream: true, StoreDir: s.folder.path, NoSigs: true,
	})
	if err != nil {
		return "", fmt.Errorf("the NATS server cannot be set up: %w", err)
	}
	complaints := &natsLog{logger: logger}
	nats.SetLoggerV2(complaints, false, false, false)
	nats.Start() // returns when it serves, or has given up
	if complaints.gaveUp() || !nats.ReadyForConnections(startTimeout) || !nats.JetStreamEnabled() {
		nats.Shutdown()
		nats.WaitForShutdown()
		return "", fmt.Errorf("the NATS server with its streams in %s does not start: %s", s.folder.path, complaints.last())
	}
	s.nats = nats
	return nats.Addr().String(), nil
}

func (s *servers) startRedis(addr string, _ zerolog.Logger) (listening string, err error) {
	redis := miniredis.NewMiniRedis()
	if err := redis.StartAddr(addr); err != nil {
		return "", fmt.Errorf("cannot be listened on: %w", err)
	}
	s.redis = redis
	return redis.Addr(), nil
}

func (s *servers) startSimulator(addr string, logger zerolog.Logger) (listening string, err error) {
	listener, err := listen(addr)
	if err != nil {
		return "", err
	}
	s.simulator = simulator.New(simulator.Config{})
	s.web = serve(listener, s.simulator, withShop(s), logger)
	return s.web.addr, nil
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot be listened on: %w", err)
	}
	return l, nil
}

// close ends them in the reverse order and removes what was temporary.
func (s *servers) close() error {
	if s.web != nil {
		s.web.close()
	}
	if s.redis != nil {
		s.redis.Close()
	}
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	if s.folder != nil {
		return s.folder.close()
	}
	return nil
}

// website serves a simulator.
type website struct {
	addr      string
	server    *http.Server
	simulator *simulator.Simulator
	ended     chan error
}

func serve(l net.Listener, sim *simulator.Simulator, handler http.Handler, logger zerolog.Logger) *website {
	w := &website{
		addr: l.Addr().String(), simulator: sim, ended: make(chan error, 1),
		// No write timeout: a simulated delay may take minutes.
		server: &http.Server{
			Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute,
			MaxHeaderBytes: 64 << 10, ErrorLog: log.New(logger.With().Str("level", "warn").Logger(), "", 0),
		},
	}
	go func() { w.ended <- w.server.Serve(l) }()
	return w
}

// close ends delays first, since they would hold their connections open, and then waits a moment for the answers on their way.
func (w *website) close() {
	w.simulator.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close()
	}
	<-w.ended
}

// folder is where the streams are kept.
type folder struct {
	path      string
	temporary bool
	lock      *os.File
}

// openFolder takes the folder for this process alone: two NATS servers on one folder would ruin each other's streams. An empty path
// makes a temporary one.
func openFolder(path string) (*folder, error) {
	if path == "" {
		dir, err := os.MkdirTemp("", program+"-")
		if err != nil {
			return nil, fmt.Errorf("no temporary folder for the streams: %w", err)
		}
		return &folder{path: dir, temporary: true}, nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("--data %s cannot be used as a folder: %w", path, err)
	}
	lock, err := lockFolder(path)
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", path, err)
	}
	return &folder{path: path, lock: lock}, nil
}

func (f *folder) close() error {
	if f.temporary {
		return os.RemoveAll(f.path)
	}
	return f.lock.Close() // which unlocks it
}

var errFolderTaken = errors.New("another sandbox keeps its streams there; end it, or choose another folder")

// natsLog passes on what the embedded NATS server has to say, and keeps what it gave up for.
type natsLog struct {
	logger zerolog.Logger
	mu     sync.Mutex
	fatal  string
}

func (l *natsLog) gaveUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal != ""
}

func (l *natsLog) last() string {
	if !l.gaveUp() {
		return "it gives no reason; --log-level debug tells more"
	}
	return l.fatal
}

func (l *natsLog) say(level zerolog.Level, format string, v []any) {
	l.logger.WithLevel(level).Str("from", "nats-server").Msgf(format, v...)
}

// Fatalf keeps the reason; the server leaves it to its logger to end the process.
func (l *natsLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = fmt.Sprintf(format, v...)
}

// Errorf passes an error on.
func (l *natsLog) Errorf(format string, v ...any) { l.say(zerolog.ErrorLevel, format, v) }

// Warnf passes a warning on, quietly: the server warns about temporary folders, which are meant here.
func (l *natsLog) Warnf(format string, v ...any) { l.say(zerolog.DebugLevel, format, v) }

// Noticef passes a notice on.
func (l *natsLog) Noticef(format string, v ...any) { l.say(zerolog.DebugLevel, format, v) }

// Debugf is not asked for.
func (l *natsLog) Debugf(string, ...any) {}

// Tracef is not asked for.
func (l *natsLog) Tracef(string, ...any) {}
