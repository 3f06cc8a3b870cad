// SPDX-License-Identifier: MIT

package trial

import (
	"fmt"
	"io"
	"strings"
)

// Report prints a line for each result and counts them.
type Report struct {
	Out io.Writer

	passed, failed, skipped int
}

// Add prints and counts one result. variant says under which circumstances it came about, e.g.
// "splice/IPv6".
func (r *Report) Add(variant, name, promise string, res Result) {
	verdict := "pass"
	seen := res.Seen
	switch {
	case res.Err != nil:
		verdict = "FAIL"
		r.failed++
	case res.Skipped != "":
		verdict, seen = "skip", res.Skipped
		r.skipped++
	default:
		r.passed++
	}
	line := fmt.Sprintf("%s  %-11s %6.2fs  %s: %s", verdict, variant, res.Took.Seconds(), name, promise)
	if seen != "" {
		line += " | " + seen
	}
	fmt.Fprintln(r.Out, line)
	if res.Err != nil {
		fmt.Fprintf(r.Out, "      went wrong first: %s\n", indent(res.Err.Error()))
		if res.Evidence != "" {
			fmt.Fprintf(r.Out, "      %s\n", indent(res.Evidence))
		}
	}
}

// Close prints the last line and says whether all is well: something passed and nothing failed.
func (r *Report) Close() bool {
	fmt.Fprintf(r.Out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return r.failed == 0 && r.passed > 0
}

func indent(text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n        ")
}
