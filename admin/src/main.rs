//! The operator's command line; what it does is in `lib.rs` and its modules.

use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use shared::clock::Clock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let width = terminal_size::terminal_size().filter(|_| stdout().is_terminal());
    let mut console = admin::cli::Console {
        // Without colours where nobody sees them, or `NO_COLOR` says so.
        out: &mut anstream::stdout(),
        err: &mut anstream::stderr(),
        input: &mut stdin().lock(),
        is_interactive: stdin().is_terminal() && std::io::stderr().is_terminal(),
        width: width.map(|(width, _)| width.0),
    };
    let arguments = std::env::args_os();
    ExitCode::from(admin::cli::run(arguments, &mut console, Clock::system()).await)
}
