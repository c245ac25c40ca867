package simulator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"linepay-worker/linepay"
)

// Channel is a merchant's channel, as its X-LINE-ChannelId header and its signatures name it.
type Channel struct {
	ID           string         // digits, 10 in LINE Pay's examples
	Secret       linepay.Secret // signs every call
	Currencies   []string       // contract currencies; empty: TWD, JPY, USD and THB. Another one is 1178
	MerchantName string         // shown on the payment page and in details; default "LINE Pay simulator"

	also []linepay.Secret // accepted beside Secret
}

// DefaultChannel is a channel for trying out. It is no secret: everyone has it.
func DefaultChannel() Channel {
	return Channel{ID: "1650000001", Secret: "0123456789abcdef0123456789abcdef"}
}

// Config says what a simulator is. The zero value is usable: DefaultChannel and the default Rules.
type Config struct {
	// Channels that may call; empty: DefaultChannel alone. Of two with one ID the last counts.
	Channels []Channel
	// Rules at the start. A rule that cannot be obeyed makes New panic; over HTTP it is refused.
	Rules Rules
	// Now is the clock that Advance moves on; nil: time.Now. The delays of faults are real time.
	Now func() time.Time
	// BaseURL is the address at which the customer's browser reaches the simulator, for example https://pay.example.com, for paymentUrl.web.
	// Empty: that of the request's Host header.
	BaseURL string
	// Seed makes ids and the luck of faults repeatable; 0: new ones each time. Ids continue to be unique within one simulator.
	Seed uint64
	// OnCall is told of every call once it is over, for a log; nil: nobody is. It may be called by several goroutines at once.
	OnCall func(Report)
	// HTTP fetches confirmUrl where Rules.CallConfirmURL says so; nil: a client with a limit of 20 s that follows no redirects.
	HTTP *http.Client
}

// Simulator is LINE Pay's Online API with a ledger and with faults on request. It is an http.Handler and safe for concurrent use.
type Simulator struct {
	base   string
	clock  func() time.Time
	http   *http.Client
	onCall func(Report)
	pages  *http.ServeMux
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	aside  sync.WaitGroup // fetches of confirmUrl

	mu       sync.Mutex // guards everything below; never held while waiting or writing
	rules    Rules
	channels map[string]*Channel
	offset   time.Duration // Advance
	luck     *rand.Rand
	serial   uint64 // of transaction ids, counting from a random point
	payments map[linepay.TransactionID]*payment
	refunds  map[linepay.TransactionID]*payment // by the refund's id
	orders   map[orderKey][]*payment
	reserves map[string]*payment
	keys     map[string]*regKey
	nonces   map[nonceKey]bool
	running  map[runKey]*run
	faults   []*Fault
	order    []*payment
	calls    []*Call
}

type orderKey struct {
	channel *Channel
	orderID string
}

type nonceKey struct {
	channel *Channel
	nonce   string
}

// New makes a simulator; Close ends it. It panics on rules that cannot be obeyed.
func New(config Config) *Simulator {
	if err := config.Rules.validate(); err != nil {
		panic("simulator: " + err.Error())
	}
	seed := config.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	luck := rand.New(rand.NewPCG(seed, seed))
	s := &Simulator{
		base: strings.TrimSuffix(config.BaseURL, "/"), clock: config.Now, http: config.HTTP, onCall: config.OnCall,
		rules: config.Rules.withDefaults(), channels: map[string]*Channel{}, luck: luck, serial: luck.Uint64(),
		payments: map[linepay.TransactionID]*payment{}, refunds: map[linepay.TransactionID]*payment{},
		orders: map[orderKey][]*payment{}, reserves: map[string]*payment{}, keys: map[string]*regKey{},
		nonces: map[nonceKey]bool{}, running: map[runKey]*run{},
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.http == nil {
		s.http = &http.Client{
			Timeout:       20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if len(config.Channels) == 0 {
		config.Channels = []Channel{DefaultChannel()}
	}
	for _, channel := range config.Channels {
		if len(channel.Currencies) == 0 {
			channel.Currencies = []string{"TWD", "JPY", "USD", "THB"}
		}
		if channel.MerchantName == "" {
			channel.MerchantName = "LINE Pay simulator"
		}
		s.channels[channel.ID] = &channel
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pages = s.routes()
	return s
}

// ServeHTTP serves LINE Pay's API under /v3 and /v4, the customer's page under /web/payment and the control side under /_simulator.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v3/") || strings.HasPrefix(r.URL.Path, "/v4/") {
		s.serveAPI(w, r)
		return
	}
	s.pages.ServeHTTP(w, r)
}

// Close ends all delays: a call that was waiting to be carried out is not carried out, and its connection is dropped. It returns when
// the simulator's own goroutines have ended; open connections are their server's matter. A call that comes later is answered as before, or
// dropped where a delay strikes it.
func (s *Simulator) Close() {
	s.cancel()
	s.aside.Wait()
}

// Advance moves the simulator's clock forward by d, 0 or more. Reservations, authorisations and refund periods end accordingly.
func (s *Simulator) Advance(d time.Duration) error {
	if d < 0 || d > 100*365*day {
		return fmt.Errorf("the clock moves forward by 0 to 100 years, not %v", d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
	return nil
}

// SetSecrets is the merchant who gives a channel another secret in the merchant centre: calls signed with anything but these are refused with
// 1106 from now on, those that were admitted before are carried out. LINE Pay accepts one secret; several are for trying out a change over.
func (s *Simulator) SetSecrets(channelID string, secrets ...linepay.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	channel := s.channels[channelID]
	if channel == nil || len(secrets) == 0 {
		return fmt.Errorf("the simulator has no channel %s, or no secret is given", channelID)
	}
	channel.Secret, channel.also = secrets[0], secrets[1:]
	return nil
}

// Time is the simulator's clock.
func (s *Simulator) Time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// Rules are those in force, defaults filled in.
func (s *Simulator) Rules() Rules {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rules
}

// SetRules puts rules in force for the calls that follow. Waits that have begun keep their end.
func (s *Simulator) SetRules(rules Rules) error {
	if err := rules.validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = rules.withDefaults()
	return nil
}

// ErrNoPayment is returned for a transaction id that is no payment's.
var ErrNoPayment = errors.New("the simulator has no payment with this transaction id")

// ErrState is wrapped by refusals of what a payment's state does not allow.
var ErrState = errors.New("the payment's state does not allow this")

// Authenticate is the customer who chooses a payment method and pays on LINE Pay's page. Doing it twice changes nothing. It fails with
// ErrNoPayment, or with ErrState once the reservation is dead or the payment confirmed.
func (s *Simulator) Authenticate(id linepay.TransactionID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.authenticate(s.payments[id])
}

func (s *Simulator) authenticate(p *payment) error {
	if p == nil {
		return ErrNoPayment
	}
	switch s.aged(p).state {
	case Authenticated:
		return nil
	case Reserved:
		p.state, p.until = Authenticated, deadline(s.now(), s.rules.ConfirmTime)
		s.callConfirmURL(p)
		return nil
	default:
		return fmt.Errorf("%w: it is %s, and only a reserved one can be authenticated", ErrState, p.state)
	}
}

// Cancel is the customer who cancels on LINE Pay's page, before or after authentication. Doing it twice changes nothing. It fails with
// ErrNoPayment, or with ErrState once the payment is confirmed or dead otherwise.
func (s *Simulator) Cancel(id linepay.TransactionID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancelPayment(s.payments[id])
}

func (s *Simulator) cancelPayment(p *payment) error {
	if p == nil {
		return ErrNoPayment
	}
	switch s.aged(p).state {
	case Cancelled:
		return nil
	case Reserved, Authenticated:
		p.state, p.until = Cancelled, time.Time{}
		return nil
	default:
		return fmt.Errorf("%w: it is %s, and only a reserved or authenticated one can be cancelled", ErrState, p.state)
	}
}

// RefundByHand is a refund that somebody makes in LINE Pay's merchant centre: an effect without a call. It gives the refund's
// transaction id. It fails with ErrNoPayment, or with ErrState where nothing was captured, or less than the amount is left.
func (s *Simulator) RefundByHand(id linepay.TransactionID, amount linepay.Amount) (linepay.TransactionID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.payments[id]
	if p == nil {
		return 0, ErrNoPayment
	}
	scale, _ := linepay.CurrencyScale(p.currency)
	if amount.Sign() <= 0 || amount.Scale() > scale {
		return 0, fmt.Errorf("a refund in %s is above 0 and has at most %d decimals, not %s", p.currency, scale, amount)
	}
	if amount.Cmp(p.left()) > 0 {
		return 0, fmt.Errorf("%w: it is %s, and %s %s can be refunded", ErrState, s.aged(p).state, p.left(), p.currency)
	}
	return s.refundNow(p, amount), nil
}

// now is the simulator's clock. Callers hold mu.
func (s *Simulator) now() time.Time { return s.clock().Add(s.offset).UTC() }
