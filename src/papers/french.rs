//! French words for the fields of the register, by their names. What has none is told in English.

use crate::papers::Lang;

/// What it is, what it is used for, what is kept of it.
pub(super) fn field(name: &str) -> Option<(&'static str, &'static str, &'static str)> {
    FIELDS
        .iter()
        .find(|(n, ..)| *n == name)
        .map(|(_, what, used, kept)| (*what, *used, *kept))
}

/// Every translated field: name, what, what for, kept (empty where nothing is).
pub(super) const FIELDS: &[(&str, &str, &str, &str)] = &[
    (
        "peer_address",
        "l'adresse à l'autre bout d'une connexion",
        "lui envoyer le flux, limiter les connexions d'un même hôte, servir à former le numéro du jour",
        "",
    ),
    (
        "forwarded_address",
        "l'adresse pour laquelle un proxy de confiance déclare se connecter (X-Forwarded-For, Forwarded, PROXY)",
        "remplacer celle du proxy",
        "",
    ),
    (
        "country",
        "le pays de l'adresse, recherché sur cette machine après suppression de la fin de l'adresse",
        "compter les spectateurs par pays",
        "deux lettres, ou le fait que le réseau est local ou partagé",
    ),
    (
        "ports",
        "les numéros de port et de flux d'une connexion (port source, client_port, SSRC)",
        "y envoyer le flux",
        "",
    ),
    (
        "player",
        "ce que le lecteur dit de lui-même (User-Agent)",
        "reconnaître sa famille et sa version majeure ; la version sert au numéro du jour et à rien d'autre",
        "la famille du lecteur, prise dans une liste fermée, et s'il s'agit d'une machine",
    ),
    (
        "credentials",
        "nom d'utilisateur et mot de passe (Authorization, utilisateur:mot-de-passe@ dans l'adresse)",
        "laisser entrer qui en a le droit",
        "",
    ),
    (
        "path",
        "ce qui est demandé",
        "l'envoyer",
        "le nom du flux, tel que l'exploitant ou celui qui le publie l'a donné",
    ),
    (
        "query",
        "ce qui suit le point d'interrogation d'une adresse",
        "obéir aux mots que le relais connaît (stats, srtp, vlcmulticast, width)",
        "",
    ),
    (
        "choice",
        "le souhait de ne pas être compté (DNT, Sec-GPC, X-Stats, ?stats=off, nostats)",
        "y obéir",
        "",
    ),
    (
        "network_choice",
        "le souhait de quelqu'un que personne de son réseau ne soit compté aujourd'hui",
        "y obéir ; ce qui reste est une empreinte à clé du réseau, effacée à minuit et à l'arrêt du programme",
        "l'empreinte, en mémoire seulement",
    ),
    (
        "consent",
        "la preuve du consentement à être compté (consent=, X-Consent)",
        "ne compter que ceux qui ont consenti ; le numéro du jour en est tiré au lieu de l'adresse et du lecteur",
        "dans un fichier de preuves : une empreinte à clé de ce consentement, pour quoi, la version de cette information, \
         l'heure, jusqu'à quand",
    ),
    (
        "tls",
        "l'établissement d'une connexion chiffrée ; aucune empreinte n'en est tirée",
        "chiffrer",
        "",
    ),
    (
        "rtcp_reports",
        "la qualité de réception des paquets (rapports RTCP)",
        "savoir que la session vit, faire une somme sur tous les lecteurs d'un flux (un hachage à clé en mémoire distingue les spectateurs), et juger comment elle a été servie",
        "",
    ),
    (
        "quality",
        "comment une session a été servie : l'attente de la première image, les paquets perdus, les sauts en cas de retard",
        "trouver ce qui ne va pas sur un flux",
        "combien de sessions d'un flux étaient dans quelle classe, et de combien de spectateurs, par heure et par jour ; non lesquelles",
    ),
    (
        "day_number",
        "un numéro tiré au hasard qui signifie « le même spectateur, aujourd'hui » ; il n'est calculé à partir de rien",
        "compter les spectateurs distincts d'un jour",
        "le numéro, dans la ligne de la session",
    ),
    (
        "day_map",
        "un hachage à clé de l'adresse et du lecteur, qui permet de retrouver le numéro du jour",
        "retrouver ce numéro ; clé et hachages sont effacés à minuit et à l'arrêt du programme",
        "le hachage, en mémoire seulement",
    ),
    (
        "session_number",
        "un numéro tiré au hasard pour chaque session",
        "retrouver la ligne d'une session quand elle change",
        "le numéro",
    ),
    (
        "times",
        "les moments où une session a commencé, s'est interrompue et a fini",
        "compter les sessions, la durée regardée et le nombre simultané",
        "les moments exacts jusqu'à deux minutes après leur heure, ou jusqu'à ce que le relais fonctionne à nouveau ; puis \
         l'heure, ou le jour pour ce qui est rare, avec la classe de durée ; et des comptages par heure et par jour",
    ),
    (
        "delivery",
        "le protocole et le transport de la session",
        "compter les sessions par protocole et transport",
        "les deux, pris dans une liste fermée",
    ),
    (
        "counts",
        "des comptages par heure ou par jour et un seul fait, jamais deux faits croisés",
        "les rapports",
        "des nombres ; les petits groupes ne sont pas montrés",
    ),
    (
        "runs",
        "quand le relais lui-même a démarré et s'est arrêté",
        "clore ce qu'une coupure de courant a laissé ouvert et dire combien de fois on a pu compter double",
        "les moments",
    ),
];

/// A recipient in a language.
pub(super) fn recipient(english: &str, lang: Lang) -> &str {
    if lang == Lang::En {
        return english;
    }
    match english.split([' ', ':']).nth(2) {
        Some("PostgreSQL") => {
            "la base PostgreSQL de l'exploitant sur une autre machine : sessions et comptages"
        }
        Some("mail") => {
            "le serveur de courrier de l'exploitant : alertes sur l'usage des statistiques, sans rien sur les spectateurs"
        }
        Some("web") => {
            "le serveur web de l'exploitant (webhook signé) : les mêmes alertes, sans rien sur les spectateurs"
        }
        _ => english,
    }
}
