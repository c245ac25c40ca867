package main

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"linepay-worker/schemas"
)

func TestScenarioAgreesAndEndsOnceAndAgainOnKeptStreams(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "streams")
	for _, round := range []string{"on new streams", "on streams of an earlier run"} {
		r := start(t, "--once", "--data", data)
		r.exit(t, agreed)
		for _, text := range []string{
			"  ✓ 11 effects at LINE Pay: each has exactly one money event, with equal amount and transaction ids\n",
			"  ✓ 11 money events: each has exactly one effect\n",
			"  ✓ 22 commands: each has exactly one answer\n",
			"  ✓ 1 message that cannot be read: among the dead letters, once\n",
			"\nThe events and LINE Pay's ledger agree.",
		} {
			if !strings.Contains(r.out.String(), text) {
				t.Errorf("%s: no %q in:\n%s", round, text, r.out)
			}
		}
		if text := r.err.String(); text != "" {
			t.Errorf("%s: the standard error holds %s", round, text)
		}
	}
	if _, err := os.Stat(filepath.Join(data, "jetstream")); err != nil {
		t.Errorf("the streams were not kept: %v", err)
	}
}

func TestScenarioShowsWhatItPromises(t *testing.T) {
	t.Parallel()
	r := start(t, "--once")
	r.exit(t, agreed)
	text := r.out.String()
	if strings.Contains(text, "\x1b") {
		t.Errorf("escape codes although this is no terminal:\n%q", text)
	}
	for _, event := range schemas.EventNames() {
		switch event {
		case schemas.EventStatus, schemas.EventDetails, schemas.EventParked: // readings, and what the scenario has no cause for
			continue
		}
		if !strings.Contains(text, "→ "+event) {
			t.Errorf("no command is answered by %s", event)
		}
	}
	for _, row := range []string{
		`  confirm  +tea-\w+  +the very same message again  +→ captured`,
		`  refund  +tea-\w+  +100, refundId broken-cup  +→ duplicate `,
		`  confirm  +piano-\w+  +90000 TWD  +→ failed +1142 the customer's balance is too low\n`,
		`  refund  +tea-\w+  +10, misspelt, refundId loyalty  +→ rejected +invalid: /data/refundAmuont `,
		`  refund  +JSON that breaks off  +→ dead letter +invalid: `,
		`  confirm  +lamp-\w+  +25\.50 USD  +→ captured +25\.50 USD, learnt by a look-up; not sent twice\n`,
		`  preapproved-pay  +club-march-\w+  +300 TWD +\d{19}  =  captured    300 TWD\n`,
	} {
		if !regexp.MustCompile(row).MatchString(text) {
			t.Errorf("no row %s in:\n%s", row, text)
		}
	}
	assertAligned(t, text, "→")
	assertAligned(t, text, " = ")
	folder := regexp.MustCompile(`streams in (.*)\)`).FindStringSubmatch(text)
	if folder == nil {
		t.Fatalf("the folder of the streams is not named:\n%s", text)
	}
	if _, err := os.Stat(folder[1]); !os.IsNotExist(err) {
		t.Errorf("the temporary folder %s is still there: %v", folder[1], err)
	}
}

// assertAligned checks that a sign stands in the same column in every row that has it.
func assertAligned(t *testing.T, text, sign string) {
	t.Helper()
	column := -1
	for line := range strings.Lines(text) {
		before, _, found := strings.Cut(line, sign)
		if !found || !strings.HasPrefix(line, "  ") {
			continue
		}
		if at := utf8.RuneCountInString(before); column < 0 {
			column = at
		} else if at != column {
			t.Errorf("%q stands in column %d, not %d: %s", sign, at, column, line)
		}
	}
	if column < 0 {
		t.Errorf("no row has a %q", sign)
	}
}

func TestSandboxStaysUpForAPersonWhoPays(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.waitFor(t, "The sandbox stays up")
	page := regexp.MustCompile(`http://\S+transactionReserveId=\S+`).FindString(r.out.String())
	if page == "" {
		t.Fatalf("no page to pay on in:\n%s", r.out)
	}
	reserve, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.PostForm("http://"+reserve.Host+"/web/payment/pay", reserve.Query())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	shop, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`You have approved 120 TWD for order coffee-\w+, .*\n\n.*linepayctl send confirm --transaction-id \d+ --order-id coffee-\w+ --amount 120 --currency TWD --wait\n`)
	if !want.Match(shop) {
		t.Errorf("the shop's page says %d %s", response.StatusCode, shop)
	}
	r.end()
	r.exit(t, agreed)
}

func TestShopKnowsOnlyPaymentsOfLINEPay(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.waitFor(t, "The sandbox stays up")
	base := regexp.MustCompile(`LINE Pay simulator +(http://\S+)`).FindStringSubmatch(r.out.String())[1]
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{shopPaid, shopCancelled + "?transactionId=1"} {
		response, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %d, want 404", path, response.StatusCode)
		}
	}
	r.end()
	r.exit(t, agreed)
}

func TestTakenPortIsNamedWhereItWasAskedFor(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for flag, value := range map[string]string{
		"--nats-port": port, "--redis-port": port, "--simulator-addr": taken.Addr().String(),
	} {
		r := start(t, "--once", flag, value)
		r.exit(t, disagreed)
		if want := flag + " is " + taken.Addr().String() + ": cannot be listened on: "; !strings.Contains(r.err.String(), want) {
			t.Errorf("error %q, want %q", r.err, want)
		}
	}
}

func TestTakenUsualPortIsReplacedAndSaid(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := &servers{}
	start := func(addr string) (string, error) { return s.startRedis(addr, zerolog.Nop()) }
	if err := s.place(start, false, "--redis-port", "", taken.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer s.redis.Close()
	want := taken.Addr().String() + " is taken, so " + s.redis.Addr() + " is used instead (--redis-port chooses another one)"
	if len(s.notes) != 1 || s.notes[0] != want {
		t.Errorf("notes %q, want %q", s.notes, want)
	}
}

func TestFolderOfStreamsIsTakenByOneSandboxAlone(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	first, err := openFolder(data)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, "--once", "--data", data)
	r.exit(t, disagreed)
	if !strings.Contains(r.err.String(), "--data "+data+": another sandbox keeps its streams there") {
		t.Errorf("error %q, want that the folder is taken", r.err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openFolder(data)
	if err != nil {
		t.Fatalf("the folder is still taken: %v", err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}

func TestFolderThatCannotHoldStreamsIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, "--once", "--data", file)
	r.exit(t, disagreed)
	if !strings.Contains(r.err.String(), "--data "+file+" cannot be used as a folder: ") {
		t.Errorf("error %q, want that it is no folder", r.err)
	}

	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r = start(t, "--once", "--data", data)
	r.exit(t, disagreed)
	if !regexp.MustCompile(`the NATS server with its streams in ` + data + ` does not start: .*JetStream`).MatchString(r.err.String()) {
		t.Errorf("error %q, want why NATS does not start", r.err)
	}
}

func TestEndBeforeTheScenarioIsOverIsNoAgreement(t *testing.T) {
	t.Parallel()
	r := start(t, "--once")
	r.waitFor(t, "A customer pays") // the scenario has begun
	r.end()
	if code := <-r.code; code == agreed && !strings.Contains(r.out.String(), "ledger agree.") {
		t.Errorf("exit code 0 without a verdict:\n%s", r.out)
	}

	r = start(t)
	r.waitFor(t, "A customer pays")
	r.end()
	r.exit(t, agreed) // somebody who only looked around
}

func TestVersionAndHelpAndMisuse(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"version": "linepay-sandbox ", "--version": "linepay-sandbox ", "--help": `"linepay-sandbox run --help" lists its flags`,
		"run --help": "--once", "scenario --help": "--simulator-url", "simulator --help": "--channel=ID:SECRET",
	} {
		r := start(t, strings.Fields(args)...)
		r.exit(t, agreed)
		if !strings.Contains(strings.Join(strings.Fields(r.out.String()), " "), strings.TrimSpace(want)) {
			t.Errorf("%s writes %q, want %q", args, r.out, want)
		}
	}
	for args, want := range map[string]string{
		"--nonsense":                               "unknown flag --nonsense",
		"--once --nats-port 70000":                 "--nats-port",
		"scenario --simulator-url simulator:8081":  "--simulator-url must be scheme and host alone",
		"scenario --timeout 0s":                    "--timeout is 0s: must be more than 0",
		"scenario --channel TW":                    `channel name "TW": use 1 to 32 of a-z, 0-9, _ and -`,
		"simulator --channel s3cr3t":               "--channel must be ID:SECRET",
		"simulator --channel 1:a --channel 1:b":    "--channel 1 is given twice",
		"simulator --public-url http://host/path/": "--public-url must be scheme and host alone",
	} {
		r := start(t, strings.Fields(args)...)
		r.exit(t, misused)
		if !strings.Contains(r.err.String(), want) || strings.Contains(r.err.String(), "s3cr3t") {
			t.Errorf("%s: error %q, want %q", args, r.err, want)
		}
	}
}
