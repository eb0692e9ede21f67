"""The APIs that messages leave by: one file a provider, one table of outcomes beside it.

    provider.py           what a provider answers
    http.py               one pooled client: time limit, span, and whether the request was written at all
    sendgrid.py           e-mail; sendgrid_outcomes.py what its answers mean
    smtp.py               e-mail; smtp_mail.py the message's bytes, smtp_connections.py the way to the server,
                          smtp_outcomes.py what its replies mean
    twilio.py             SMS; twilio_outcomes.py what its answers mean, twilio_codes.py what its error codes do
    twilio_look_up.py     which SMS were made of which we heard nothing?
    webpush.py            push messages; push_encryption.py, vapid.py, webpush_outcomes.py
    webhook.py            webhooks, signed; webhook_outcomes.py what their answers mean
    address_guard.py      which addresses may be called for somebody else
    mailbox.py            keeps e-mail and SMS for a page to show, where there are no credentials

A new provider is one file, one outcome table, one line in `app.py`.
"""
