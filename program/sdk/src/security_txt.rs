//! The program's `security.txt`: whom to tell about a vulnerability, readable in the deployed bytes.
//!
//! The text is that of <https://github.com/neodyme-labs/solana-security-txt>: names and values that
//! end with zero bytes, between two marks, in the ELF section `.security.txt`.

/// Defines the text of the program with this name.
///
/// Who deploys the programs edits the values here, first of all `contacts`: a list with commas of
/// `email:…`, `link:…`, `discord:…`, `telegram:…`, `twitter:…` or `other:…`.
#[macro_export]
macro_rules! security_txt {
    ($program:literal) => {
        const SECURITY_TEXT: &str = concat!(
            "=======BEGIN SECURITY.TXT V1=======\0",
            concat!("name\0CVMS ", $program, "\0"),
            "project_url\0private\0",
            "contacts\0other:whoever holds the upgrade authority of this program\0",
            "policy\0docs/security.md in the source repository\0",
            "preferred_languages\0en\0",
            "auditors\0None\0",
            "=======END SECURITY.TXT V1=======\0"
        );

        #[allow(unsafe_code, reason = "the programs deny it everywhere else")]
        #[unsafe(link_section = ".security.txt")]
        #[used]
        static SECURITY_TXT: [u8; SECURITY_TEXT.len()] =
            *SECURITY_TEXT.as_bytes().first_chunk().expect("it has its own length");
    };
}
