package main

import (
	"errors"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// serving starts the simulator alone and gives its address.
func serving(t *testing.T, args ...string) (*running, string) {
	t.Helper()
	r := start(t, append([]string{"simulator", "--addr", "127.0.0.1:0"}, args...)...)
	r.waitFor(t, "let a day pass")
	return r, regexp.MustCompile(`LINE Pay simulator on (http://\S+)`).FindStringSubmatch(r.out.String())[1]
}

func client(t *testing.T, base, id string, secret linepay.Secret) *linepay.Client {
	t.Helper()
	c, err := linepay.New(linepay.Config{BaseURL: base, ChannelID: id, Secret: secret, ReadTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func coffee() *linepay.PaymentRequest {
	return &paymentRequest((&order{name: "coffee", id: "coffee-1"}).priced("120 TWD"), "http://127.0.0.1", nil).PaymentRequest
}

func TestSimulatorAloneAnswersASignedRequest(t *testing.T) {
	t.Parallel()
	r, base := serving(t)
	account := simulator.DefaultChannel()
	for _, text := range []string{
		"export LINEPAY_BASE_URL=" + base + "\n", "export LINEPAY_CHANNEL_ID=" + account.ID + "\n", "export LINEPAY_CHANNEL_SECRET=" + account.Secret.Reveal() + "\n",
		"linepay-sandbox scenario --simulator-url " + base + "\n",
	} {
		if !strings.Contains(r.out.String(), text) {
			t.Errorf("%s is not told in:\n%s", text, r.out)
		}
	}
	info, err := client(t, base, account.ID, account.Secret).Request(t.Context(), coffee())
	if err != nil {
		t.Fatal(err)
	}
	if info.TransactionID == 0 || !strings.HasPrefix(info.PaymentURL.Web, base+"/web/payment/") {
		t.Errorf("answer %+v, want a transaction and a page at %s", info, base)
	}
	_, err = client(t, base, account.ID, "another-secret").Request(t.Context(), coffee())
	if refusal, ok := errors.AsType[*linepay.Error](err); !ok || refusal.Code != "1106" {
		t.Errorf("a wrong signature is answered %v, want 1106", err)
	}
	r.end()
	r.exit(t, agreed)
	for _, line := range []string{
		` INF POST channel=` + account.ID + ` operation=request path=/v3/payments/request returnCode=0000\n`,
		` INF POST channel=` + account.ID + ` operation=request path=/v3/payments/request remark="wrong signature: the secret is another one, .*" returnCode=1106\n`,
	} {
		if !regexp.MustCompile(line).MatchString(r.err.String()) {
			t.Errorf("no line %s in the log:\n%s", line, r.err)
		}
	}
	if strings.Contains(r.err.String(), account.Secret.Reveal()) {
		t.Errorf("the log shows the secret:\n%s", r.err)
	}
}

func TestReadmeNamesTheSimulatorsOwnChannel(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	account := simulator.DefaultChannel()
	for _, line := range []string{
		"export LINEPAY_BASE_URL=http://" + usualSimulator, "export LINEPAY_CHANNEL_ID=" + account.ID, "export LINEPAY_CHANNEL_SECRET=" + account.Secret.Reveal(),
	} {
		if !strings.Contains(string(readme), line+"\n") {
			t.Errorf("README.md does not hold %s", line)
		}
	}
}

func TestSimulatorAloneTakesTheChannelsItIsGiven(t *testing.T) {
	t.Parallel()
	r, base := serving(t, "--channel", "1650000777:se,cret:with:colons", "--channel", "1650000778:other", "--public-url", "http://pay.example:8081")
	if text := r.out.String(); strings.Contains(text, "colons") || strings.Contains(text, simulator.DefaultChannel().ID) || !strings.Contains(text, "1650000777") {
		t.Errorf("want the given channels without their secrets, and not the default one:\n%s", text)
	}
	info, err := client(t, base, "1650000777", "se,cret:with:colons").Request(t.Context(), coffee())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(info.PaymentURL.Web, "http://pay.example:8081/web/payment/") {
		t.Errorf("the page is %s, want it at the public address", info.PaymentURL.Web)
	}
	_, err = client(t, base, simulator.DefaultChannel().ID, simulator.DefaultChannel().Secret).Request(t.Context(), coffee())
	if refusal, ok := errors.AsType[*linepay.Error](err); !ok || refusal.Code != "1104" {
		t.Errorf("the default channel is answered %v, want 1104", err)
	}
	r.end()
	r.exit(t, agreed)
}

func TestSimulatorAloneNamesATakenAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := start(t, "simulator", "--addr", taken.Addr().String())
	r.exit(t, disagreed)
	if !strings.Contains(r.err.String(), "--addr is "+taken.Addr().String()+": cannot be listened on: ") {
		t.Errorf("error %q, want that the address is taken", r.err)
	}
}

func TestSimulatorSaysWhoMayReachIt(t *testing.T) {
	t.Parallel()
	for address, warned := range map[string]bool{"127.0.0.1": false, "::1": false, "0.0.0.0": true, "::": true, "192.0.2.1": true} {
		out := newScreen()
		describeSimulator(newPrinter(out), &net.TCPAddr{IP: net.ParseIP(address), Port: 8081}, nil)
		if got := strings.Contains(out.String(), "Other machines may reach it"); got != warned {
			t.Errorf("%s: warned %v, want %v", address, got, warned)
		}
		if strings.Contains(out.String(), "http://0.0.0.0") || strings.Contains(out.String(), "http://[::]") {
			t.Errorf("%s: an address that cannot be called is told:\n%s", address, out)
		}
	}
}
