package servers_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// attempt publishes or subscribes as a role, and says whether NATS let it.
func attempt(t *testing.T, s *natsServer, role string, try func(*nats.Conn) error) (allowed bool) {
	t.Helper()
	conn, err := nats.Connect(url(s, role), nats.CustomInboxPrefix("_INBOX."+role), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	defer conn.Close()
	if err := errors.Join(try(conn), conn.FlushTimeout(10*time.Second)); err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	switch err := conn.LastError(); { // which the server sends before the answer to the flush
	case err == nil:
		return true
	case errors.Is(err, nats.ErrPermissionViolation):
		return false
	default:
		t.Fatalf("%s: %v", role, err)
		return false
	}
}

func TestRolesPublishWhatTheyAreThereForAndNothingElse(t *testing.T) {
	t.Parallel()
	s := withPermissions(t, t.TempDir(), strings.NewReplacer())
	for subject, may := range map[string]string{
		"linepay.commands.default.request":            "checkout operator",
		"linepay.commands.default.check":              "checkout operator",
		"linepay.commands.default.confirm":            "checkout operator",
		"linepay.commands.default.capture":            "checkout operator",
		"linepay.commands.default.void":               "checkout operator",
		"linepay.commands.default.details":            "checkout operator",
		"linepay.commands.default.preapproved-check":  "checkout operator",
		"linepay.commands.default.preapproved-pay":    "checkout operator",
		"linepay.commands.default.preapproved-expire": "checkout operator",
		"linepay.commands.default.refund":             "refunds operator",
		"linepay.commands.default.refund.more":        "",
		"linepay.events.default.captured.ORDER-1":     "worker operator",
		"linepay.deadletters.default.confirm":         "worker",
		"linepay.audit.default.pause":                 "operator",
		"_INBOX.worker.1":                             "",
		"$SYS.REQ.SERVER.PING":                        "",

		// Messages: commands and dead letters hold regKeys, and so do the events `preapproval`.
		"$JS.API.STREAM.MSG.GET.LINEPAY_COMMANDS":                         "worker operator reader",
		"$JS.API.STREAM.MSG.GET.LINEPAY_EVENTS":                           "worker operator reader",
		"$JS.API.STREAM.MSG.GET.LINEPAY_DEADLETTERS":                      "worker operator reader",
		"$JS.API.DIRECT.GET.LINEPAY_EVENTS":                               "worker operator reader",
		"$JS.API.CONSUMER.CREATE.LINEPAY_COMMANDS.other":                  "worker",
		"$JS.API.CONSUMER.CREATE.LINEPAY_EVENTS.other":                    "worker operator reader",
		"$JS.API.CONSUMER.CREATE.LINEPAY_EVENTS.ledger":                   "operator",
		"$JS.API.CONSUMER.CREATE.LINEPAY_EVENTS.ledger.linepay.events.>":  "operator",
		"$JS.API.CONSUMER.CREATE.LINEPAY_DEADLETTERS.other":               "worker operator reader",
		"$JS.API.CONSUMER.DURABLE.CREATE.LINEPAY_EVENTS.ledger":           "",
		"$JS.API.CONSUMER.MSG.NEXT.LINEPAY_COMMANDS.linepay-worker-other": "worker",
		"$JS.API.CONSUMER.MSG.NEXT.LINEPAY_EVENTS.ledger":                 "ledger operator",
		"$JS.API.CONSUMER.MSG.NEXT.LINEPAY_EVENTS.keys":                   "keys operator",
		"$JS.API.CONSUMER.MSG.NEXT.LINEPAY_EVENTS.checkout":               "checkout operator",
		"$JS.API.CONSUMER.MSG.NEXT.LINEPAY_EVENTS.refunds":                "refunds operator",
		"$JS.ACK.LINEPAY_COMMANDS.linepay-worker-default.1.2.3.4.5":       "worker",
		"$JS.ACK._.hash.LINEPAY_COMMANDS.linepay-worker-default.1.2.3":    "worker",
		"$JS.ACK.LINEPAY_EVENTS.ledger.1.2.3.4.5":                         "ledger",
		"$JS.ACK._.hash.LINEPAY_EVENTS.ledger.1.2.3":                      "ledger",

		// Who could make away with something.
		"$JS.API.STREAM.CREATE.LINEPAY_COMMANDS":                        "worker",
		"$JS.API.STREAM.CREATE.OTHER":                                   "",
		"$JS.API.STREAM.UPDATE.LINEPAY_COMMANDS":                        "operator",
		"$JS.API.STREAM.DELETE.LINEPAY_COMMANDS":                        "",
		"$JS.API.STREAM.PURGE.LINEPAY_EVENTS":                           "",
		"$JS.API.STREAM.MSG.DELETE.LINEPAY_COMMANDS":                    "",
		"$JS.API.STREAM.MSG.DELETE.LINEPAY_EVENTS":                      "",
		"$JS.API.STREAM.MSG.DELETE.LINEPAY_AUDIT":                       "",
		"$JS.API.STREAM.MSG.DELETE.LINEPAY_DEADLETTERS":                 "operator",
		"$JS.API.CONSUMER.PAUSE.LINEPAY_COMMANDS.linepay-worker-tw":     "operator",
		"$JS.API.CONSUMER.DELETE.LINEPAY_COMMANDS.linepay-worker-tw":    "operator",
		"$JS.API.CONSUMER.DELETE.LINEPAY_EVENTS.ledger":                 "operator",
		"$JS.API.CONSUMER.DELETE.LINEPAY_EVENTS.some-reader":            "worker operator reader",
		"$JS.API.STREAM.SNAPSHOT.LINEPAY_COMMANDS":                      "",
		"$JS.API.STREAM.RESTORE.LINEPAY_COMMANDS":                       "",
		"$JS.API.META.LEADER.STEPDOWN":                                  "",
		"$JS.API.CONSUMER.RESET.LINEPAY_COMMANDS.linepay-worker-tw":     "",
		"$JS.API.CONSUMER.UNPIN.LINEPAY_COMMANDS.linepay-worker-tw":     "",
		"$JS.API.CONSUMER.LEADER.STEPDOWN.LINEPAY_COMMANDS.some-reader": "",
	} {
		for _, role := range roles {
			allowed := attempt(t, s, role, func(conn *nats.Conn) error { return conn.Publish(subject, nil) })
			if wanted := slices.Contains(strings.Fields(may), role); allowed != wanted {
				t.Errorf("%s may publish to %s: %t, want %t", role, subject, allowed, wanted)
			}
		}
	}
}

func TestRolesHearWhatIsAnsweredToThemAndNothingElse(t *testing.T) {
	t.Parallel()
	s := withPermissions(t, t.TempDir(), strings.NewReplacer())
	for _, role := range roles {
		for _, subject := range []string{
			"_INBOX.>", "_INBOX.*", ">", "linepay.>", "linepay.events.*.preapproval.>", "linepay.commands.default.confirm", "$JS.>", "$JS.ACK.>",
			"$JS.EVENT.>",
		} {
			if attempt(t, s, role, func(conn *nats.Conn) error { _, err := conn.SubscribeSync(subject); return err }) {
				t.Errorf("%s may subscribe to %s", role, subject)
			}
		}
		for _, other := range roles {
			allowed := attempt(t, s, role, func(conn *nats.Conn) error { _, err := conn.SubscribeSync("_INBOX." + other + ".1"); return err })
			if allowed != (role == other) {
				t.Errorf("%s may hear what is answered to %s: %t", role, other, allowed)
			}
		}
	}
	if _, err := nats.Connect(s.ClientURL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a user: %v, want a refusal", err)
	}
}

// SECURITY.md tells of each role what it may do; this is what NATS lets it.
func TestSecurityTellsWhatTheRolesMayDo(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string][2]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|.*\\| (yes|no) \\| (yes|no) \\|$").FindAllStringSubmatch(string(text), -1) {
		told[row[1]] = [2]string{row[2], row[3]}
	}
	s := withPermissions(t, t.TempDir(), strings.NewReplacer())
	actual := map[string][2]string{}
	for _, role := range roles {
		may := func(subjects ...string) string {
			for _, subject := range subjects {
				if attempt(t, s, role, func(conn *nats.Conn) error { return conn.Publish(subject, nil) }) {
					return "yes"
				}
			}
			return "no"
		}
		actual[role] = [2]string{may("linepay.commands.default.refund"), may(
			"$JS.API.STREAM.MSG.GET.LINEPAY_COMMANDS", "$JS.API.STREAM.MSG.GET.LINEPAY_EVENTS", "$JS.API.STREAM.MSG.GET.LINEPAY_DEADLETTERS",
			"$JS.API.DIRECT.GET.LINEPAY_COMMANDS", "$JS.API.DIRECT.GET.LINEPAY_EVENTS", "$JS.API.DIRECT.GET.LINEPAY_DEADLETTERS",
			"$JS.API.CONSUMER.CREATE.LINEPAY_COMMANDS.own", "$JS.API.CONSUMER.CREATE.LINEPAY_EVENTS.own",
			"$JS.API.CONSUMER.CREATE.LINEPAY_DEADLETTERS.own",
			"$JS.API.CONSUMER.CREATE.LINEPAY_EVENTS."+role, "$JS.API.CONSUMER.MSG.NEXT.LINEPAY_EVENTS.keys",
			"$JS.API.CONSUMER.MSG.NEXT.LINEPAY_COMMANDS.linepay-worker-default",
		)}
	}
	if diff := cmp.Diff(actual, told); diff != "" {
		t.Errorf("may refund, sees regKeys: NATS has (-), SECURITY.md says (+):\n%s", diff)
	}
}
