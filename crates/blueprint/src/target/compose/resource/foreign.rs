//! Directories that outlive their process, and servers that are only known by their image.

use manifest::plan::{Image, Resource, Volume, VolumeVia};
use manifest::template::Part;

use super::server::{Server, ask};
use super::{Fragment, named_volume};
use crate::address::{Place, resolve};
use crate::node::{Map, Node};
use crate::target::compose::hardening::{Share, TO_BECOME_A_USER};
use crate::target::compose::secret;
use crate::target::compose::stack::{Stack, escaped};

pub(super) fn volume(resource: &Resource, volume: &Volume) -> Fragment {
    let because = format!("resources.{}", resource.name);
    let volume = match &volume.via {
        VolumeVia::Local | VolumeVia::Docker | VolumeVia::Kubernetes { .. } => {
            named_volume(resource)
        }
        // The disk is attached to the host; if it is not mounted, nothing starts.
        VolumeVia::HetznerVolume => {
            let device = format!("/mnt/{}", resource.name.dns());
            let options = Map::new().with("type", "none").with("o", "bind").with("device", device);
            (resource.name.dns(), Node::from(local(options)).because(because))
        }
        VolumeVia::AwsEfs => {
            let variable = efs_variable(resource);
            let address = format!(
                "addr=${{{variable}:?set it to the DNS name of the EFS file system}},\
                 nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2"
            );
            let options = Map::new().with("type", "nfs4").with("o", address).with("device", ":/");
            (resource.name.dns(), Node::from(local(options)).because(because))
        }
    };
    Fragment { volumes: vec![volume], ..Fragment::default() }
}

/// The variable that says where an EFS file system is.
pub(super) fn efs_variable(resource: &Resource) -> String {
    format!("{}_EFS_HOST", resource.name.upper())
}

fn local(options: Map) -> Map {
    Map::new().with("driver", "local").with("driver_opts", options)
}

pub(super) fn image(stack: &Stack<'_>, resource: &Resource, image: &Image) -> Fragment {
    let mut server = Server::new(&image.image, Share::new(2000, 2048, 512));
    for (key, template) in &image.env {
        let Some(template) = resolve(stack.plan, Place::Compose, template) else { continue };
        server.secrets.extend(template.secrets().cloned());
        match template.0.as_slice() {
            // A value that is one secret is read from its file, by the custom of such images.
            [Part::Secret { name }] => {
                let path = secret::path(name);
                server.environment.push((format!("{key}_FILE"), path.into()));
            }
            _ => {
                let value = escaped(&crate::environment::text(&template));
                server.environment.push((key.to_string(), value.into()));
            }
        }
    }
    // Many such images start as root, prepare their directory and become another user.
    server.capabilities = TO_BECOME_A_USER;
    let path = image.health.as_ref().map_or("/", |path| path.as_str());
    server.health = Some(ask(image.port.get(), path));
    if let Some(data) = &image.data {
        server.mounts = vec![format!("{}:{data}", resource.name.dns())];
    }
    let mut fragment = server.fragment(stack, resource);
    // Whether an image can be asked at all is not known; who needs it waits by itself.
    for (_, condition) in &mut fragment.waits {
        *condition = "service_started";
    }
    if image.data.is_some() {
        fragment.volumes.push(named_volume(resource));
    }
    fragment
}
