//! What is planned, through the binary: calendars in the configuration and in files.

use schemas::Micros;
use serde_json::Value;

use crate::live::{get, mint};
use crate::on_call::{SOON, Shop, alerts, history_is_read, now};
use crate::support::wait_until;

#[test]
fn what_is_planned_for_a_tenant_alerts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("holidays.ics");
    let today = Micros(now()).date();
    let ics = |line: &str| {
        let day = today.replace('-', "");
        let event = format!(
            "BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:{day}\r\nSUMMARY:Day off\r\n{line}END:VEVENT\r\n"
        );
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{event}END:VCALENDAR\r\n")
    };
    std::fs::write(&file, ics("RRULE:FREQ=SECONDLY\r\n")).unwrap();
    let calendars = format!(
        "[[calendar]]\nfile = {file:?}\ntenants = [\"acme\"]\n\
         [[calendar]]\ntenants = [\"bolt\"]\nevents = [{{ from = \"{today}\", title = \"Sale\" }}]\n"
    );
    let mut shop = Shop::new(&["acme", "bolt", "cord"], &calendars);
    let refused = shop.place.weir(&["run", "--until-end"]).exits(2);
    refused.says(&["calendar.0.file", "holidays.ics", "line 6: RRULE: FREQ `SECONDLY`"]);
    std::fs::write(&file, ics("")).unwrap();
    let checked = shop.place.weir(&["check"]);
    assert!(
        checked.stdout.contains("planned for `acme`: 1 times, first Day off"),
        "{}",
        checked.stdout
    );

    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    history_is_read(port, &token, "cord");
    shop.spike("acme", "40", 10);
    shop.spike("bolt", "40", 11);
    shop.spike("cord", "40", 12);
    wait_until("what nobody has planned is told", SOON, || {
        !alerts(port, &token, "firing").is_empty()
    });
    let open = alerts(port, &token, "all");
    let tenants: Vec<&Value> = open.iter().map(|alert| &alert["tenant"]).collect();
    assert_eq!(tenants, ["cord"]);
    let planned = |tenant: &str| {
        let path = format!("/api/v1/kpis/total_cost/series?grain=day&tenant={tenant}");
        let answer = get(port, &path, &token);
        let points = answer["series"][0]["points"].as_array().unwrap().clone();
        points.last().unwrap()["planned"].clone()
    };
    assert_eq!(planned("acme"), "Day off");
    assert_eq!(planned("bolt"), "Sale");
    assert_eq!(planned("cord"), Value::Null);
    run.kill();
    shop.place.succeeds(&["verify"]);
}
