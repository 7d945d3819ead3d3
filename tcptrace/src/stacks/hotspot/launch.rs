//! What a Java program was started with: its main class, or its archive. Pure.

use crate::stacks::java::is_within;

/// What was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Launched {
    /// `-jar shop.jar`: the name of the file.
    Archive(String),
    /// `com.acme.Main`.
    Class(String),
    /// By a program that is not `java`, or with options that are in a file.
    Unknown,
}

/// Options whose value is the next argument (`man java`; src/java.base/share/native/libjli/java.c, `IsWhiteSpaceOption`).
const WITH_VALUE: [&str; 13] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--limit-modules",
    "--add-exports",
    "--add-opens",
    "--add-reads",
    "--patch-module",
    "--enable-native-access",
];

/// Packages of what starts applications of others: their names say nothing of the application.
const LAUNCHERS: [&str; 26] = [
    "clojure",
    "com.ibm.ws",
    "com.simontuffs.onejar",
    "com.sun.enterprise.glassfish",
    "fish.payara",
    "groovy",
    "io.quarkus.bootstrap",
    "jdk.jshell",
    "kotlin",
    "org.apache.catalina",
    "org.apache.commons.daemon",
    "org.apache.flink",
    "org.apache.groovy",
    "org.apache.hadoop",
    "org.apache.karaf",
    "org.apache.spark",
    "org.codehaus",
    "org.eclipse.jetty",
    "org.gradle",
    "org.jboss.modules",
    "org.jruby",
    "org.python",
    "org.springframework.boot.loader",
    "org.tanukisoftware.wrapper",
    "scala",
    "weblogic",
];

impl Launched {
    /// By the arguments of a process, with a zero byte behind each.
    pub(super) fn of(command_line: &[u8]) -> Self {
        match Self::started(command_line) {
            Self::Class(class) if LAUNCHERS.iter().any(|launcher| is_within(&class, launcher)) => {
                Self::Unknown
            }
            started => started,
        }
    }

    fn started(command_line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(command_line);
        let mut arguments = text.split('\0');
        // Other launchers have options of their own.
        if arguments.next().and_then(|program| program.rsplit('/').next()) != Some("java") {
            return Self::Unknown;
        }
        while let Some(argument) = arguments.next() {
            let value =
                |argument: Option<&str>| argument.filter(|argument| !argument.is_empty()).map(str::to_owned);
            match argument {
                "-jar" => {
                    let path = value(arguments.next());
                    let name = path.as_deref().and_then(|path| path.rsplit('/').next());
                    return name.map_or(Self::Unknown, |name| Self::Archive(name.to_owned()));
                }
                // `com.acme.shop/com.acme.shop.Main`; without a class, the module says it.
                "-m" | "--module" => {
                    let class =
                        value(arguments.next()).and_then(|module| Some(module.split_once('/')?.1.to_owned()));
                    return class.map_or(Self::Unknown, Self::Class);
                }
                _ if WITH_VALUE.contains(&argument) => drop(arguments.next()),
                _ if argument.starts_with('-') => {}
                _ if is_class(argument) => return Self::Class(argument.replace('/', ".")),
                _ => return Self::Unknown,
            }
        }
        Self::Unknown
    }
}

/// Whether it may be the name of a class.
fn is_class(argument: &str) -> bool {
    let is_part = |part: &str| {
        let mut characters = part.chars();
        characters.next().is_some_and(|first| first.is_alphabetic() || first == '_' || first == '$')
            && characters.all(|next| next.is_alphanumeric() || next == '_' || next == '$')
    };
    argument.split(['.', '/']).all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_started_is_behind_the_options() {
        let class = |name: &str| Launched::Class(name.to_owned());
        for (arguments, expected) in [
            ("java -Xmx1g -jar /srv/shop.jar --port 1", Launched::Archive("shop.jar".to_owned())),
            ("java -cp lib/a.jar:lib/b.jar com.acme.Main x", class("com.acme.Main")),
            ("/usr/bin/java --add-opens java.base/java.lang=ALL-UNNAMED -ea Leak", class("Leak")),
            ("java -p mods -m com.acme.shop/com.acme.shop.Main", class("com.acme.shop.Main")),
            ("java -cp bootstrap.jar org.apache.catalina.startup.Bootstrap start", Launched::Unknown),
            ("java -cp . org.apache.catalinas.Main", class("org.apache.catalinas.Main")),
            ("java -m com.acme.shop", Launched::Unknown),
            ("java @options com.acme.Main", Launched::Unknown),
            ("jsvc -home /usr/lib/jvm/x com.acme.Main", Launched::Unknown),
            ("java Leak.java", class("Leak.java")),
            ("java", Launched::Unknown),
            ("", Launched::Unknown),
        ] {
            assert_eq!(Launched::of(arguments.replace(' ', "\0").as_bytes()), expected, "{arguments}");
        }
    }
}
