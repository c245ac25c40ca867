package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// What others than the shop do: the customer, LINE Pay, and a broken program.

// customerPays opens LINE Pay's page and presses Pay, as a browser would.
func customerPays(name string) step {
	return do(func(ctx context.Context, s *stage) error {
		o := s.order(name)
		back, err := s.press(ctx, o.page)
		if err != nil {
			return fmt.Errorf("the customer of order %s cannot pay at %s: %w", o.id, o.page, err)
		}
		s.out.row(scenarioColumns, cell{"(customer)", faint}, cell{o.id, plain}, cell{"presses Pay on LINE Pay's page", plain},
			cell{"→ back", cyan}, cell{"to " + back, faint})
		return nil
	})
}

// payForm is the button on the simulator's page.
var payForm = regexp.MustCompile(`(?s)<form method="post" action="([^"]+)">\s*<input type="hidden" name="([^"]+)" value="([^"]+)">\s*<button[^>]*>Pay<`)

// press gives the address that the page sends the customer to.
func (s *stage) press(ctx context.Context, page string) (back string, err error) {
	base, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	body, _, err := s.browse(ctx, http.MethodGet, page, "", http.StatusOK)
	if err != nil {
		return "", err
	}
	form := payForm.FindSubmatch(body)
	if form == nil {
		return "", errors.New("the page has no Pay button")
	}
	action, err := base.Parse(string(form[1]))
	if err != nil {
		return "", err
	}
	fields := url.Values{string(form[2]): {string(form[3])}}.Encode()
	_, header, err := s.browse(ctx, http.MethodPost, action.String(), fields, http.StatusSeeOther)
	if err != nil {
		return "", err
	}
	target, err := url.Parse(header.Get("Location"))
	if err != nil {
		return "", err
	}
	return "the shop's " + target.Path, nil
}

func (s *stage) browse(ctx context.Context, method, address, form string, want int) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form))
	if err != nil {
		return nil, nil, err
	}
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := s.browser.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err == nil && response.StatusCode != want {
		err = fmt.Errorf("%s %s: status %d, want %d", method, r.URL.Path, response.StatusCode, want)
	}
	return body, response.Header, err
}

// linePayAnswers makes LINE Pay refuse the next call of an operation with a result code.
func linePayAnswers(code string, op linepay.Operation) step {
	return fault(simulator.Fault{Operation: op, Kind: simulator.KindCode, Code: code}, "will answer the next "+string(op), code)
}

// linePayLosesItsAnswer makes LINE Pay carry out the next call of an operation and close the connection instead of answering.
func linePayLosesItsAnswer(op linepay.Operation) step {
	return fault(simulator.Fault{Operation: op, Kind: simulator.KindDrop, When: simulator.After}, "will carry out the next "+string(op), "no answer")
}

func fault(f simulator.Fault, what, outcome string) step {
	return do(func(ctx context.Context, s *stage) error {
		body := fmt.Sprintf(`{"operation":%q,"kind":%q,"code":%q,"when":%q}`, f.Operation, f.Kind, f.Code, f.When)
		if _, _, err := s.browse(ctx, http.MethodPost, s.servers.simulatorURL()+"/_simulator/faults", body, http.StatusCreated); err != nil {
			return fmt.Errorf("add a fault to the simulator: %w", err)
		}
		s.out.row(scenarioColumns, cell{"(LINE Pay)", faint}, cell{}, cell{what, plain}, cell{"→ " + outcome, yellow}, cell{})
		return nil
	})
}

// sendGarbage publishes what is no command at all. Nobody can be answered, so it has to end among the dead letters.
func sendGarbage(op linepay.Operation) step {
	return do(func(ctx context.Context, s *stage) error {
		m := &sent{operation: op, body: []byte(`{"specversion":"1.0","id":"7f0c`)}
		s.sent = append(s.sent, m)
		if err := s.publish(ctx, m); err != nil {
			return err
		}
		var parked letter
		err := s.journal.await(ctx, func(j *journal) bool {
			parked = j.letter(m.sequences[0])
			return parked.Reason != ""
		})
		if err == nil {
			err = s.gone(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("no dead letter for the %s that cannot be read: %w", op, err)
		}
		s.out.row(scenarioColumns, cell{string(op), plain}, cell{}, cell{"JSON that breaks off", plain},
			cell{"→ dead letter", yellow}, cell{parked.Reason + ": " + clip(parked.Detail, 60), faint})
		if parked.Reason != schemas.ReasonInvalid {
			s.surprise("the unreadable message was parked as %s, want %s", parked.Reason, schemas.ReasonInvalid)
		}
		return nil
	})
}

// ledger asks the simulator what was carried out, as anybody can.
func (s *stage) ledger(ctx context.Context) ([]simulator.Transaction, error) {
	var ledger struct {
		Transactions []simulator.Transaction `json:"transactions"`
	}
	body, _, err := s.browse(ctx, http.MethodGet, s.servers.simulatorURL()+"/_simulator/ledger", "", http.StatusOK)
	if err == nil {
		err = json.Unmarshal(body, &ledger)
	}
	if err != nil {
		return nil, fmt.Errorf("read the simulator's ledger: %w", err)
	}
	return ledger.Transactions, nil
}

func marshal(v any) ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }
