package examples_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/schemas"
)

const typesFile = "typescript/linepay.ts"

func TestTypesAreThoseOfTheSchemas(t *testing.T) {
	t.Parallel()
	got, err := os.ReadFile(typesFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), schemas.TypeScript()); diff != "" {
		t.Errorf("%s is stale: run `go run ./cmd/linepayctl schemas typescript > deploy/examples/%s`\n%s", typesFile, typesFile, diff)
	}
}

// misuses are what the types must not let pass. A number would be rounded; a refund without an amount gives everything back.
var misuses = []string{
	`export const a: CommandConfirm["data"] = { transactionId: 2018082512345678910, orderId: "O", amount: "1", currency: "TWD" };`,
	`export const b: CommandConfirm["data"] = { transactionId: "1", orderId: "O", amount: 1000, currency: "TWD" };`,
	`export const c: CommandConfirm["data"] = { transactionId: "1", orderId: "O", amount: "1", currency: "EUR" };`,
	`export const d: CommandConfirm["data"] = { transactionId: "1", orderId: "O", amount: "1" };`,
	`export const e: CommandRefund["data"] = { transactionId: "1", orderId: "O", refundAmount: "1" };`,
	`export const f: CommandRefund["data"] = { transactionId: "1", orderId: "O", refundId: "R" };`,
	`export const g: CommandRefund["data"] = { transactionId: "1", orderId: "O", refundAmuont: "1" };`,
	`export const h = (event: EventCaptured): number => event.data.amount;`,
	`export const i = (event: LinePayEvent): string => event.data.moneyMoved;`,
	`export const j: Events["captured"]["type"] = "linepay.event.refunded.v1";`,
	`export const k: Command["type"] = "linepay.command.withdraw.v1";`,
}

func TestTypesTakeEveryExampleAndNoMistake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	modules := filepath.Join(dir, "node_modules")
	if err := os.Symlink(filepath.Join(installed(t), "node_modules"), modules); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "linepay.ts"} {
		copyFile(t, filepath.Join(typescript, name), filepath.Join(dir, name))
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("examples.ts", examplesOfSchemas(t))
	const imports = `import type { Command, CommandConfirm, CommandRefund, EventCaptured, Events, LinePayEvent } from "./linepay.js";` + "\n"
	write("misuses.ts", imports+strings.Join(misuses, "\n"))
	write("tsconfig.json", `{"compilerOptions": {"target": "ES2022", "module": "NodeNext", "strict": true, "noEmit": true, "types": []},
		"files": ["examples.ts", "misuses.ts"]}`)
	tsc := filepath.Join(modules, "typescript", "bin", "tsc")
	compiler := exec.CommandContext(t.Context(), "node", tsc, "--project", ".", "--pretty", "false")
	compiler.Dir = dir
	said, err := compiler.CombinedOutput()
	if err == nil {
		t.Fatal("the compiler accepts every misuse")
	}
	for line := range strings.Lines(string(said)) {
		if !strings.HasPrefix(line, "misuses.ts(") && !strings.HasPrefix(line, " ") {
			t.Errorf("not accepted: %s", line)
		}
	}
	for i, misuse := range misuses {
		if !strings.Contains(string(said), fmt.Sprintf("misuses.ts(%d,", i+2)) {
			t.Errorf("accepted: %s", misuse)
		}
	}
}

// examplesOfSchemas is a module that gives each example of each schema the type that is generated from it.
func examplesOfSchemas(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	count := 0
	for _, name := range schemas.SchemaNames() {
		body, err := schemas.Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		var schema struct {
			Title    string
			Examples []json.RawMessage
		}
		if err := json.Unmarshal(body, &schema); err != nil {
			t.Fatal(err)
		}
		words := strings.FieldsFunc(schema.Title, func(r rune) bool { return r == ' ' || r == '-' })
		for i, word := range words {
			words[i] = strings.ToUpper(word[:1]) + word[1:]
		}
		for _, example := range schema.Examples {
			count++
			fmt.Fprintf(&text, "export const e%d: import(%q).%s = %s;\n", count, "./linepay.js", strings.Join(words, ""), example)
		}
	}
	if count < len(schemas.SchemaNames())-1 {
		t.Fatalf("%d examples, want at least one of each schema but the shared definitions", count)
	}
	return text.String()
}
