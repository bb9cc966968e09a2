//! Questions for records of any type, for those who look after zones: without a memory, and far from any request.

use std::net::SocketAddr;
use std::sync::Arc;

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::Message;

use super::stub::{self, Recursion};
use super::{Files, NameServers};
use crate::limits::{NAME_SERVERS_MAX, QUERY_ROUNDS};

/// Nobody has answered a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnswered {
    #[error("this machine has no name server")]
    NoServer,
    /// What was wrong with the last server that was asked.
    #[error("{server}: {reason}")]
    Failed { server: SocketAddr, reason: String },
}

/// Who asks. Clones are the same.
#[derive(Clone)]
pub struct Questions {
    servers: NameServers,
    files: Arc<Files>,
}

impl Questions {
    pub fn to(servers: NameServers) -> Questions {
        Questions { servers, files: Arc::default() }
    }

    /// What a recursive resolver answers: the first of ours that does. What it says of names is not verified.
    pub async fn ask(&self, name: &Name, rtype: RecordType) -> Result<Message, NotAnswered> {
        let servers = self.servers().await;
        let mut last = NotAnswered::NoServer;
        for _ in 0..QUERY_ROUNDS {
            for server in servers.iter().take(NAME_SERVERS_MAX) {
                match stub::message(*server, name, rtype, Recursion::Desired).await {
                    Ok(message) => return Ok(message),
                    Err(error) => last = NotAnswered::Failed { server: *server, reason: error.to_string() },
                }
            }
        }
        Err(last)
    }

    /// What one server knows by itself. Whether it is responsible for the name is in the message (RFC 1035 §4.1.1, AA).
    pub async fn ask_at(&self, server: SocketAddr, name: &Name, rtype: RecordType) -> Result<Message, NotAnswered> {
        let mut last = NotAnswered::NoServer;
        for _ in 0..QUERY_ROUNDS {
            match self.ask_once(server, name, rtype).await {
                Ok(message) => return Ok(message),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The same by one datagram, for who counts them; and over TCP where the server says that the answer does not fit.
    pub async fn ask_once(&self, server: SocketAddr, name: &Name, rtype: RecordType) -> Result<Message, NotAnswered> {
        let answer = stub::message(server, name, rtype, Recursion::No).await;
        answer.map_err(|error| NotAnswered::Failed { server, reason: error.to_string() })
    }

    async fn servers(&self) -> Vec<SocketAddr> {
        match &self.servers {
            NameServers::These(servers) => servers.clone(),
            NameServers::System => {
                let files = Arc::clone(&self.files);
                tokio::task::spawn_blocking(move || files.servers.get().to_vec()).await.unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_lab::{Manner, NameServer};

    use super::*;

    #[tokio::test]
    async fn the_first_server_that_answers_is_believed() {
        let (silent, good) = (NameServer::start(""), NameServer::start("a.test 5 NS b.test"));
        silent.becomes(Manner::Fails);
        let questions = Questions::to(NameServers::These(vec![silent.address, good.address]));
        let (name, other) = (Name::parse("a.test").unwrap(), Name::parse("c.test").unwrap());
        let message = questions.ask(&name, RecordType::NS).await.unwrap();
        assert_eq!(message.answers.len(), 1);
        // That there is nothing is an answer as well.
        assert!(questions.ask(&other, RecordType::DS).await.unwrap().answers.is_empty());
        assert!(!questions.ask_at(good.address, &name, RecordType::NS).await.unwrap().recursion_desired);
        let failed = questions.ask_at(silent.address, &name, RecordType::NS).await.unwrap_err();
        assert!(failed.to_string().contains("SERVFAIL") || failed.to_string().contains("Rcode"), "{failed}");
        let nobody = Questions::to(NameServers::These(Vec::new()));
        assert_eq!(nobody.ask(&name, RecordType::NS).await, Err(NotAnswered::NoServer));
    }
}
