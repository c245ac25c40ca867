package app

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// ConnectNATS makes the connection, under a name that NATS' monitoring shows. A server that cannot be reached at start is an error; once
// connected, it reconnects for ever and logs each loss and return.
//
// Nothing is kept back while the connection is lost: a publish then fails at once instead of reaching JetStream minutes later, when its
// sender has long taken another decision.
func ConnectNATS(s NATSSettings, name string, logger zerolog.Logger) (*nats.Conn, error) {
	options, err := s.options()
	if err != nil {
		return nil, err
	}
	options = append(options,
		nats.Name(name),
		nats.Timeout(5*time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500*time.Millisecond),
		nats.ReconnectBufSize(-1),
		// A credential that is being rotated must not end a worker that runs.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(20*time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn().Err(err).Msg("NATS connection lost")
			}
		}),
		nats.ReconnectHandler(func(conn *nats.Conn) {
			logger.Info().Str("server", conn.ConnectedUrlRedacted()).Msg("NATS connection back")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, subscription *nats.Subscription, err error) {
			event := logger.Warn().Err(err)
			if subscription != nil {
				event = event.Str("subject", subscription.Subject)
			}
			event.Msg("NATS reports an error")
		}),
	)
	conn, err := nats.Connect(s.URL, options...)
	if err != nil {
		return nil, &SettingError{Setting: "NATS_URL", Value: redact(s.URL), Rule: "no connection: " + natsReason(err)}
	}
	return conn, nil
}

// natsReason puts what people meet into words, and keeps out addresses that cannot be parsed: such errors quote them whole, password and
// all.
func natsReason(err error) string {
	var address *url.Error
	switch {
	case errors.As(err, &address):
		return "not an address such as nats://host:4222"
	case errors.Is(err, nats.ErrNoServers):
		return "no server answers there; check the address, and that NATS runs"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return "NATS refuses the credentials; check NATS_CREDS, NATS_NKEY or the user in the address"
	case errors.Is(err, nats.ErrSecureConnRequired):
		return "NATS wants TLS; write tls:// and, if its certificate is your own, set NATS_CA"
	}
	return err.Error()
}

// NoJetStream reports whether a request to JetStream failed because there is none: then nobody answers, or the server says so.
func NoJetStream(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

// CheckFiles opens the files that the settings name, once. Its errors name the setting.
func (s NATSSettings) CheckFiles() error {
	_, err := s.options()
	return err
}

// options turns files into options, with an error that names the setting.
func (s NATSSettings) options() ([]nats.Option, error) {
	var options []nats.Option
	if s.Creds != "" {
		if err := readable("NATS_CREDS", s.Creds); err != nil {
			return nil, err
		}
		options = append(options, nats.UserCredentials(s.Creds))
	}
	if s.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(s.NKey)
		if err != nil {
			return nil, &SettingError{Setting: "NATS_NKEY", Value: s.NKey, Rule: fmt.Sprintf("is not a file with an NKey seed: %v", err)}
		}
		options = append(options, option)
	}
	if s.CA != "" {
		if err := readable("NATS_CA", s.CA); err != nil {
			return nil, err
		}
		options = append(options, nats.RootCAs(s.CA))
	}
	if s.Cert != "" {
		if err := readable("NATS_CERT", s.Cert); err != nil {
			return nil, err
		}
		options = append(options, nats.ClientCert(s.Cert, s.Key))
	}
	if s.Inbox != "" {
		options = append(options, nats.CustomInboxPrefix(s.Inbox))
	}
	return options, nil
}

// readable opens the file once, since the library would name neither the setting nor, on a reconnect, the file.
func readable(setting, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return &SettingError{Setting: setting, Value: path, Rule: fmt.Sprintf("cannot be read: %v", err)}
	}
	return file.Close()
}
